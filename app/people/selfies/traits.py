"""A person's traits in captions and prompts, a row of choices: proposed from their photos, never chosen by themselves."""

from functools import partial
from typing import get_args

import streamlit as st

from app.components import errors, widgets
from app.session import client, translate
from tasks import schemas


def show_traits(person: schemas.Person) -> None:
    """Show the choices, and what the photos seem to show that was not chosen."""
    chosen, offered = person.traits.model_dump(), person.offered_traits.model_dump(exclude_defaults=True)
    with st.expander(translate("traits.title"), expanded=False, icon=":material/face:"):
        widgets.muted_text(translate("traits.help", name=person.name))
        columns = st.columns(len(chosen))
        for column, (name, value) in zip(columns, chosen.items(), strict=True):
            key = f"trait-{person.id}-{name}-{value}"  # another key where it was changed elsewhere
            column.pills(
                translate(f"trait.{name}"),
                [each for each in get_args(schemas.Traits.model_fields[name].annotation) if each],
                default=value or None,
                format_func=_title,
                key=key,
                on_change=errors.as_callback(partial(_choose, person.id, chosen, name, key)),
            )
        open_traits = {name: value for name, value in offered.items() if not chosen[name]}
        if open_traits:
            seen = widgets.format_list([_title(value) for value in open_traits.values()])
            widgets.muted_text(translate("traits.seen", traits=seen))
            st.button(
                translate("traits.take"),
                key="take-traits",
                on_click=errors.as_callback(lambda: client().choose_traits(person.id, {**chosen, **open_traits})),
            )


def _choose(person: str, chosen: dict[str, str], name: str, key: str) -> None:
    """Store a choice; a pressed one that is pressed again is not said any more."""
    client().choose_traits(person, {**chosen, name: st.session_state.get(key) or ""})


def _title(value: str) -> str:
    """The words of a choice in the language of the visit."""
    return translate(f"choice.{value.replace(' ', '_').replace('-', '_')}")
