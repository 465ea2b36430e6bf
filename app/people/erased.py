"""What was erased, as its receipt says it; and LoRAs of photos that were deleted, with the choice about them."""

import streamlit as st

from app.components import errors, markdown, widgets
from app.session import client, get_state, set_state, translate
from tasks import schemas

KINDS = ("people", "selfies", "identities", "portraits", "templates", "jobs", "webhooks", "keys")
_ERASED = "erased"


def remember(erased: schemas.Erased, name: str = "") -> None:
    """Have `show_erased` tell what was erased: of the person with this name, or of everybody."""
    set_state(_ERASED, (erased, name))


def show_erased() -> None:
    """List what was erased, once."""
    told: tuple[schemas.Erased, str] | None = get_state(_ERASED)
    set_state(_ERASED, None)
    if told is None:
        return
    erased, name = told
    ids_by_kind = {kind: ids for kind in KINDS if (ids := getattr(erased, kind))}
    text = markdown.sentence("privacy.went_of", name=name) if name else translate("privacy.went_all")
    st.success(text, icon=":material/check_circle:")
    st.html(widgets.bullet_list([translate(f"went.{kind}", count=len(ids)) for kind, ids in ids_by_kind.items()]))
    if erased.done is None:
        st.info(translate("privacy.went_later"), icon=":material/schedule:")
    with st.expander(translate("privacy.went_list")):
        st.caption(translate("privacy.receipt", id=erased.erasure))
        for ids in ids_by_kind.values():
            st.code("\n".join(ids), language=None)


def show_stale(person: schemas.Person) -> None:
    """Tell that a LoRA was trained on a photo that was deleted, with a button that erases it."""
    if not person.learned:
        return
    stale = [each for each in client().identities(person.id) if each.stale is not None]
    for each in stale:
        day = widgets.format_date(each.stale) if each.stale else ""
        st.warning(translate("privacy.stale", base=each.base, day=day), icon=":material/history:")
        action = errors.as_callback(lambda id=each.id: client().delete_identity(id))
        st.button(translate("privacy.stale_erase"), key=f"stale-{each.id}", width="stretch", on_click=action)
