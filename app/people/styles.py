"""The page of styles: choose looks, say who and how many, and ask for portraits."""

import secrets
from collections.abc import Mapping, Sequence

import streamlit as st

from app.components import current_person, errors, style_titles, widgets
from app.people import generation_options, own_pictures
from app.people.choices import Look, choose
from app.session import client, go, is_operator, recall, remember, say, say_or
from tasks import schemas

COUNTS = (1, 2, 4, 8)
SIZES: Mapping[str, tuple[int, int] | None] = {
    "usual": None,
    "large": (2048, 2560),
    "square": (1536, 1536),
    "wide": (1920, 1080),
    "story": (1080, 1920),
}
"""Width and height in pixels; the usual size is the style's own."""
MOST_SEEDS = 2**31


def page() -> None:
    """Choose and ask."""
    widgets.heading(say("create.title"), say("create.lead"))
    person = current_person.chosen()
    if person is None or not current_person.allowed(person):
        return
    if person.identity is None:
        st.info(say("create.no_photos", name=person.name), icon=":material/photo_library:")
        if st.button(say("create.to_photos"), type="primary"):
            go("photos")
        return
    abilities = client().abilities()
    known = generation_options.ways(person, abilities)
    styles = [_for_whom(each, known) for each in client().styles()]
    chosen: list[str] = recall("chosen", [])
    _gallery(styles, chosen, person)
    templates = own_pictures.own_pictures(chosen)
    _order(person, _looks(styles, templates, chosen), known)
    _beyond(person, abilities, known)


def _for_whom(style: schemas.Style, known: generation_options.Ways) -> schemas.Style:
    """The style as it is for a person: words are drawn only of somebody whom the model can be told of."""
    ready = style.ready and (style.kind != "text" or known.suiting(style.families).any)
    return style.model_copy(update={"ready": ready})


def _gallery(styles: Sequence[schemas.Style], chosen: list[str], person: schemas.Person) -> None:
    """Every style with its picture, by what it is good for."""
    tags = sorted({tag for each in styles for tag in each.tags})
    names = {tag: say_or(f"tag.{tag}", tag.capitalize()) for tag in tags}
    wanted = st.pills(say("create.filter"), tags, format_func=lambda tag: names[tag], key="tag")
    shown = [style for style in styles if not wanted or wanted in style.tags]
    _cards([style for style in shown if style.ready], chosen)
    others = [style for style in shown if not style.ready]
    if others:
        with st.expander(say("create.others", count=len(others)), expanded=len(others) == len(shown)):
            _why(others, person)
            _cards(others, chosen, narrow=True)


def _why(others: Sequence[schemas.Style], person: schemas.Person) -> None:
    """What it takes to draw styles that cannot be drawn, in plain words; to operators in theirs too."""
    if any(not style.missing for style in others):
        st.write(say("create.needs_learning", name=person.name))
    lacking = [style for style in others if style.missing]
    if lacking:
        st.write(say("create.needs_model" if all(style.kind == "text" for style in lacking) else "create.not_here"))
    _for_operators([line for style in lacking for line in style.missing])


def _for_operators(lines: Sequence[str]) -> None:
    """What is missing, as whoever can bring it needs it said."""
    if is_operator():
        for line in dict.fromkeys(lines):
            widgets.soft(line)


def _cards(styles: Sequence[schemas.Style], chosen: list[str], narrow: bool = False) -> None:
    grid = st.grid(5, min_column_width=120 if narrow else 150)
    for style in styles:
        with grid.cell(), st.container(border=True, height="stretch", key=f"style-{style.id}"):
            _style(style, chosen)


def _style(style: schemas.Style, chosen: list[str]) -> None:
    """One style, chosen or to be chosen; grey where it cannot be drawn."""
    name = style_titles.title_of(style)
    alt = say("create.card_alt" if style.kind == "text" else "create.style_alt", style=name)
    st.html(
        widgets.picture(widgets.source("style", style.id), alt, "tall", grey=not style.ready)
        + widgets.title(name)
        + (widgets.small(style.credit) if style.credit else "")
    )
    if style.ready:
        choose(style.id, name, chosen)


def _looks(styles: Sequence[schemas.Style], templates: Sequence[schemas.Template], chosen: Sequence[str]) -> list[Look]:
    """What was chosen and can be drawn, in the order in which it was chosen."""
    known = {
        each.id: Look(
            each.id, style_titles.title_of(each), each.faces, words=each.kind == "text", families=tuple(each.families)
        )
        for each in styles
        if each.ready
    }
    known |= {each.id: Look(each.id, each.name, len(each.faces), each) for each in templates if each.faces is not None}
    return [known[id] for id in chosen if id in known]


def _order(person: schemas.Person, looks: Sequence[Look], known: generation_options.Ways) -> None:
    """Who, how many, how large, and what else may be wished; and the button."""
    if looks:
        st.html(f'<a class="p-onward" href="#order">{widgets.safe(say("create.onward", count=len(looks)))}</a>')
    st.subheader(say("create.order"), anchor="order")
    if not looks:
        st.info(say("create.choose_first"), icon=":material/touch_app:")
        return
    cast = {look.id: own_pictures.cast(look, person) for look in looks}
    left, right = st.columns(2)
    wish = recall("wish", {})
    count = left.segmented_control(
        say("create.count"), COUNTS, default=wish.get("count", 2), required=True, key=f"count-{wish.get('at', 0)}"
    )
    size = right.selectbox(
        say("create.size"),
        list(SIZES),
        index=list(SIZES).index(wish.get("size", "usual")),
        format_func=lambda each: say(f"size.{each}"),
        key=f"size-{wish.get('at', 0)}",
    )
    wished = generation_options.ask([look for look in looks if look.words], known)
    ready = [look for look in looks if cast[look.id]]
    count = count or COUNTS[0]
    names = ", ".join(look.name for look in looks)
    st.html(widgets.small(say("create.summary", looks=names, count=count * len(ready))))
    label = say("create.draw", count=count * len(ready))
    if st.button(label, type="primary", icon=":material/brush:", disabled=not ready):
        with errors.told():
            for look in ready:
                client().generate(_asked(look, cast[look.id], count, size, wished))
            remember("wish", {})
            go("progress")


def _asked(
    look: Look, cast: Mapping[str, str], count: int, size: str, wished: generation_options.Wishes
) -> schemas.GenerationOrder:
    sides = SIZES[size]
    wish = recall("wish", {})
    order = {
        "people": dict(cast),
        "template" if look.template else "style": look.id,
        "count": count,
        "seed": wish["seed"] if wish.get("look") == look.id else secrets.randbelow(MOST_SEEDS),
        "size": None if sides is None else {"width": sides[0], "height": sides[1]},
    }
    if look.words:
        order |= {"technique": dict(wished.technique), "traits": dict(wished.traits[look.id])}
    return schemas.GenerationOrder.model_validate(order)


def _beyond(person: schemas.Person, abilities: Sequence[schemas.Ability], known: generation_options.Ways) -> None:
    """What this installation can do besides, and what the rest would take."""
    trainable = [each for each in abilities if each.name.startswith("train:")]
    ready = [each.name.removeprefix("train:") for each in trainable if each.ready]
    with st.expander(say("beyond.title"), icon=":material/auto_awesome:", expanded=bool(ready) and not known.any):
        st.write(say("beyond.personal"))
        if person.learned:
            widgets.soft(say("beyond.learned", name=person.name, bases=", ".join(person.learned)))
        if ready and _is_being_learned(person):
            widgets.soft(say("beyond.learning", name=person.name))
            if st.button(say("nav.progress"), key="to-progress", icon=":material/hourglass_empty:"):
                go("progress")
            return
        for base in ready:
            label = say("beyond.train", name=person.name) + (f" ({base})" if len(ready) > 1 else "")
            if st.button(label, key=f"train-{base}", icon=":material/school:"):
                with errors.told():
                    client().train(schemas.TrainingOrder.model_validate({"person": person.id, "base": base}))
                    go("progress")
        if not ready:
            st.write(say("beyond.no_base") if trainable else say("beyond.needs_gpu"))
            _for_operators([line for each in trainable for line in each.missing])


def _is_being_learned(person: schemas.Person) -> bool:
    waiting = client().jobs(["queued", "running"], "train")
    return any(job.wants.get("person") == person.id for job in waiting)
