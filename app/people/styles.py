"""The page of styles: chooses styles and own pictures, and requests portraits of them."""

import secrets
from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from app.components import current_person, errors, markdown, style_titles, widgets
from app.people import generation_options, own_pictures
from app.people.choices import StyleChoice, choice_button
from app.session import client, get_state, is_operator, set_state, switch_page, translate, translate_or
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
SEED_LIMIT = 2**31


def page() -> None:
    """Show the styles, the own pictures, the form of the order, and what training would add."""
    widgets.page_heading(translate("create.title"), translate("create.lead"))
    person = current_person.select_person()
    if person is None or not current_person.check_consent(person):
        return
    if person.identity is None:
        st.info(markdown.sentence("create.no_photos", name=person.name), icon=":material/photo_library:")
        if st.button(translate("create.to_photos"), type="primary"):
            switch_page("photos")
        return
    abilities = client().abilities()
    person_abilities = generation_options.generation_abilities(person, abilities)
    styles = [_for_person(each, person, person_abilities) for each in client().styles()]
    chosen: list[str] = get_state("chosen", [])
    _show_gallery(styles, chosen, person)
    templates = own_pictures.show_own_pictures(chosen)
    _order_form(person, _selected(styles, templates, chosen), person_abilities)
    _training_section(person, abilities, person_abilities)


def _for_person(
    style: schemas.Style, person: schemas.Person, person_abilities: generation_options.GenerationAbilities
) -> schemas.Style:
    """The style with `ready` for a person: a prompt can be drawn only of somebody for whom there is an adapter, and
    other styles only where a photo serves them."""
    able = style.kind != "text" or person_abilities.for_families(style.families).can_generate
    return style.model_copy(update={"ready": style.ready and able and not _what_opens(style, person)})


def _what_opens(style: schemas.Style, person: schemas.Person) -> str:
    """What photo would open a style that no photo of the person serves; empty where one does, or it is not known."""
    serves = person.serves
    if serves is None:
        return ""
    holds = {"studio": serves.studio, "idphoto": serves.idphoto, "template": serves.template}
    if holds.get(style.kind, True):
        return ""
    tip = next((each.tip for each in person.opens if each.code == style.kind), "")
    return translate_or(f"opens.{style.kind}", tip).format(name=person.name)


def _show_gallery(styles: Sequence[schemas.Style], chosen: list[str], person: schemas.Person) -> None:
    """Show every style with its picture, filtered by tag; those that cannot be drawn are folded away."""
    tags = sorted({tag for each in styles for tag in each.tags})
    labels = {tag: markdown.plain(translate_or(f"tag.{tag}", tag.capitalize())) for tag in tags}
    wanted = st.pills(translate("create.filter"), tags, format_func=lambda tag: labels[tag], key="tag")
    visible = [style for style in styles if not wanted or wanted in style.tags]
    _show_cards([style for style in visible if style.ready], chosen)
    others = [style for style in visible if not style.ready]
    if others:
        with st.expander(translate("create.others", count=len(others)), expanded=len(others) == len(visible)):
            _explain_unavailable(others, person)
            _show_cards(others, chosen, narrow=True)


def _explain_unavailable(others: Sequence[schemas.Style], person: schemas.Person) -> None:
    """Explain why styles cannot be drawn, and show operators exactly what is missing."""
    for reason in dict.fromkeys(_what_opens(style, person) for style in others):
        if reason:
            st.write(markdown.plain(reason))
    if any(style.kind == "text" and not style.missing for style in others):
        st.write(markdown.sentence("create.needs_learning", name=person.name))
    missing = [style for style in others if style.missing]
    if missing:
        st.write(
            translate("create.needs_model" if all(style.kind == "text" for style in missing) else "create.not_here")
        )
    _show_to_operators([line for style in missing for line in style.missing])


def _show_to_operators(lines: Sequence[str]) -> None:
    """Show lines about what is missing to operators alone."""
    if is_operator():
        for line in dict.fromkeys(lines):
            widgets.muted_text(line)


def _show_cards(styles: Sequence[schemas.Style], chosen: list[str], narrow: bool = False) -> None:
    grid = st.grid(5, min_column_width=120 if narrow else 150)
    for style in styles:
        with grid.cell(), st.container(border=True, height="stretch", key=f"style-{style.id}"):
            _show_card(style, chosen)


def _show_card(style: schemas.Style, chosen: list[str]) -> None:
    """Show one style with its button; grey and without a button where it cannot be drawn."""
    name = style_titles.localized_title(style)
    alt = translate("create.card_alt" if style.kind == "text" else "create.style_alt", style=name)
    st.html(
        widgets.picture(widgets.picture_url("style", style.id), alt, "tall", grey=not style.ready)
        + widgets.card_title(name)
        + (widgets.muted(style.credit) if style.credit else "")
    )
    if style.ready:
        choice_button(style.id, name, chosen)


def _selected(
    styles: Sequence[schemas.Style], templates: Sequence[schemas.Template], chosen: Sequence[str]
) -> list[StyleChoice]:
    """The chosen styles and pictures that can be drawn, in the order in which they were chosen."""
    available = {
        each.id: StyleChoice(
            each.id,
            style_titles.localized_title(each),
            each.faces,
            from_text=each.kind == "text",
            families=tuple(each.families),
        )
        for each in styles
        if each.ready
    }
    available |= {
        each.id: StyleChoice(each.id, each.name, len(each.faces), each) for each in templates if each.faces is not None
    }
    return [available[id] for id in chosen if id in available]


def _order_form(
    person: schemas.Person, selected: Sequence[StyleChoice], person_abilities: generation_options.GenerationAbilities
) -> None:
    """Show the form of the order: faces, number, size and generation options, and the button that sends it."""
    if selected:
        st.html(f'<a class="p-onward" href="#order">{escape(translate("create.onward", count=len(selected)))}</a>')
    st.subheader(translate("create.order"), anchor="order")
    if not selected:
        st.info(translate("create.choose_first"), icon=":material/touch_app:")
        return
    faces = {choice.id: own_pictures.assign_faces(choice, person) for choice in selected}
    left, right = st.columns(2)
    settings = get_state("settings", {})
    count = left.segmented_control(
        translate("create.count"),
        COUNTS,
        default=settings.get("count", 2),
        required=True,
        key=f"count-{settings.get('version', 0)}",
    )
    size = right.selectbox(
        translate("create.size"),
        list(SIZES),
        index=list(SIZES).index(settings.get("size", "usual")),
        format_func=lambda each: translate(f"size.{each}"),
        key=f"size-{settings.get('version', 0)}",
    )
    choices = generation_options.generation_form([choice for choice in selected if choice.from_text], person_abilities)
    ready = [choice for choice in selected if faces[choice.id]]
    count = count or COUNTS[0]
    labels = ", ".join(choice.name for choice in selected)
    st.html(widgets.muted(translate("create.summary", looks=labels, count=count * len(ready))))
    label = translate("create.draw", count=count * len(ready))
    if st.button(label, type="primary", icon=":material/brush:", disabled=not ready):
        with errors.show_errors():
            for choice in ready:
                client().generate(_generation_order(choice, faces[choice.id], count, size, choices))
            set_state("settings", {})
            switch_page("progress")


def _generation_order(
    choice: StyleChoice, faces: Mapping[str, str], count: int, size: str, choices: generation_options.GenerationChoices
) -> schemas.GenerationRequest:
    """The request for portraits of one style; the seed is that of the reused settings of this style, or a random one."""
    sides = SIZES[size]
    settings = get_state("settings", {})
    order = {
        "people": dict(faces),
        "template" if choice.template else "style": choice.id,
        "count": count,
        "seed": settings["seed"] if settings.get("style") == choice.id else secrets.randbelow(SEED_LIMIT),
        "size": None if sides is None else {"width": sides[0], "height": sides[1]},
    }
    if places := own_pictures.missed_places(choice, faces):
        order |= {"places": places}
    if choice.from_text:
        order |= {"technique": dict(choices.options), "traits": dict(choices.traits[choice.id])}
    return schemas.GenerationRequest.model_validate(order)


def _training_section(
    person: schemas.Person,
    abilities: Sequence[schemas.Ability],
    person_abilities: generation_options.GenerationAbilities,
) -> None:
    """Explain what training a model on the person adds, with a button for each base that is ready, or what it takes."""
    trainable = [each for each in abilities if each.name.startswith("train:")]
    ready = [each.name.removeprefix("train:") for each in trainable if each.ready]
    with st.expander(
        translate("beyond.title"),
        icon=":material/auto_awesome:",
        expanded=bool(ready) and not person_abilities.can_generate,
    ):
        st.write(translate("beyond.personal"))
        if person.learned:
            widgets.muted_text(translate("beyond.learned", name=person.name, bases=", ".join(person.learned)))
        if ready and _is_training(person):
            widgets.muted_text(translate("beyond.learning", name=person.name))
            if st.button(translate("nav.progress"), key="to-progress", icon=":material/hourglass_empty:"):
                switch_page("progress")
            return
        for base in ready:
            label = markdown.sentence("beyond.train", name=person.name) + (f" ({base})" if len(ready) > 1 else "")
            if st.button(label, key=f"train-{base}", icon=":material/school:"):
                with errors.show_errors():
                    client().train(schemas.TrainingRequest.model_validate({"person": person.id, "base": base}))
                    switch_page("progress")
        if not ready:
            st.write(translate("beyond.no_base") if trainable else translate("beyond.needs_gpu"))
            _show_to_operators([line for each in trainable for line in each.missing])


def _is_training(person: schemas.Person) -> bool:
    waiting = client().jobs(["queued", "running"], "train")
    return any(job.wants.get("person") == person.id for job in waiting)
