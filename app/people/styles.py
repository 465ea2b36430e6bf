"""The page of styles: groups of styles and own pictures to choose from, the order, and what training would add."""

from collections.abc import Collection, Sequence

import streamlit as st

from app.components import current_person, markdown, style_titles, undo, widgets
from app.people import consent
from app.people.ordering import choices, gallery, own_pictures
from app.people.ordering.choices import StyleChoice
from app.people.ordering.generation_options import generation_abilities
from app.people.ordering.order_form import order_form
from app.people.ordering.training import training_section
from app.session import client, switch_page, translate
from tasks import schemas

_OWN = "own"
_THUMB = 192
"""Pixels of the pictures beside what is chosen."""


def page() -> None:
    """Show the groups, the own pictures and styles, the form of the order, and what training would add."""
    widgets.page_heading(translate("create.title"), translate("create.lead"))
    person = current_person.select_person()
    if person is None or not current_person.check_consent(person):
        return
    if person.identity is None:
        st.info(markdown.sentence("create.no_photos", name=person.name), icon=":material/photo_library:")
        if st.button(translate("create.to_photos"), type="primary"):
            switch_page("photos")
        return
    if consent.ask_guardian(person):
        return
    abilities = client().abilities()
    person_abilities = generation_abilities(person, abilities)
    styles = [gallery.style_for(each, person, person_abilities) for each in style_titles.list_styles()]
    templates = client().templates()
    usable = own_pictures.usable_pictures(templates)
    undo.show()
    groups = [_OWN, *(group for group in gallery.GROUPS if any(style.group == group for style in styles))]
    wanted = gallery.show_groups(groups)
    if wanted in ("", _OWN):
        own_pictures.show_own_pictures(templates, usable, person, alone=wanted == _OWN)
    if wanted != _OWN:
        gallery.show_styles(styles, wanted, person)
    looked_for = {each.id for each in templates} - {each.id for each in usable}
    order_form(person, _selected(styles, usable, person, looked_for), person_abilities)
    training_section(person, abilities, person_abilities)


def _selected(
    styles: Sequence[schemas.Style],
    templates: Sequence[schemas.Template],
    person: schemas.Person,
    looked_for: Collection[str],
) -> list[StyleChoice]:
    """The chosen styles and pictures that can be drawn, in the order in which they were chosen.

    The others are told, but for pictures whose faces are being looked for: their ids are `looked_for`.
    """
    ids = choices.chosen()
    available = {each.id: _style_choice(each, person) for each in styles if each.ready and each.id in ids}
    if not gallery.what_opens_pictures(person):
        available |= {each.id: _picture_choice(each) for each in templates if each.id in ids}
    lost = [each for each in ids if each not in available and each not in looked_for]
    if lost:
        names = {each.id: style_titles.localized_title(each) for each in styles} | {
            each.id: each.name for each in templates
        }
        text = widgets.format_list([names.get(each) or _lost_name(each) for each in lost])
        st.warning(markdown.sentence("create.lost", count=len(lost), styles=text), icon=":material/info:")
    return [available[each] for each in ids if each in available]


def _lost_name(id: str) -> str:
    """What a style or picture is called of which nothing but its id is left."""
    return translate("create.lost_picture" if id.startswith("template_") else "create.lost_style")


def _style_choice(style: schemas.Style, person: schemas.Person) -> StyleChoice:
    return StyleChoice(
        style.id,
        style_titles.localized_title(style),
        style.kind,
        style.faces,
        gallery.preview_url(style, person.id, side=_THUMB),
        families=tuple(style.families),
    )


def _picture_choice(template: schemas.Template) -> StyleChoice:
    picture = widgets.picture_url("template", template.id, _THUMB)
    return StyleChoice(template.id, template.name, "template", len(template.faces or ()), picture, template)
