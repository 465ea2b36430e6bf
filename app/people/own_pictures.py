"""Pictures that visitors bring, and who takes the place of each face in a look."""

import streamlit as st

from app.components import errors, widgets
from app.people.choices import Look, choose
from app.people.photos import KINDS
from app.session import client, let_go, recall, remember, say
from portrait.errors import PortraitError
from tasks import schemas


def own_pictures(chosen: list[str]) -> list[schemas.Template]:
    """Take pictures of the visitor's own and show those there are."""
    templates = client().templates()
    with st.expander(say("own.title"), expanded=bool(templates), icon=":material/add_photo_alternate:"):
        widgets.soft(say("own.lead"))
        _take(chosen)
        if templates:
            grid = st.grid("auto", min_column_width=200)
            for template in templates:
                with grid.cell(), st.container(border=True, height="stretch", key=f"template-{template.id}"):
                    _template(template, chosen)
    return templates


def cast(look: Look, person: schemas.Person) -> dict[str, str]:
    """Who takes each face of a look, by its number; a look of one face is the person's in hand."""
    if look.faces <= 1:
        return {"1": person.id} if look.faces else {}
    st.html(widgets.title(say("cast.title", look=look.name)))
    ready = [each for each in client().people() if each.consent and each.identity]
    names = {each.id: each.name for each in ready} | {"": say("cast.nobody")}
    left, right = st.columns([1, 1])
    if look.template is not None and look.template.faces:
        address = widgets.source("template", look.id, 800)
        left.html(widgets.boxed(address, say("own.alt", name=look.name), look.template.faces))
    found: dict[str, str] = {}
    for number in range(1, look.faces + 1):
        ids = ["", *(each.id for each in ready)]
        usual = ids.index(person.id) if number == 1 and person.id in ids else 0
        who = right.selectbox(
            say("cast.face", number=number),
            ids,
            index=usual,
            format_func=lambda id: names[id],
            key=f"cast-{look.id}-{number}",
        )
        if who:
            found[str(number)] = who
    if not found:
        right.warning(say("cast.choose_one"))
    return found


def _take(chosen: list[str]) -> None:
    turn = recall("pictures", 0)
    picture = st.file_uploader(say("own.choose"), KINDS, key=f"picture-{turn}")
    if picture is not None:
        remember("pictures", turn + 1)
        remember("picture_lost", None)
        try:
            with st.spinner(say("own.sending")):
                added = client().add_template(picture.name, picture)
        except PortraitError as error:
            if error.code in errors.AWAY:
                raise
            remember("picture_lost", error)
        else:
            remember("chosen", [*chosen, added.id])
        let_go(picture)
        st.rerun()
    lost = recall("picture_lost")
    if lost is not None:
        errors.say_here(lost)


def _template(template: schemas.Template, chosen: list[str]) -> None:
    """One picture: its faces, being looked at, or why it cannot be used."""
    alt = say("own.alt", name=template.name)
    if template.faces is None:
        st.html(widgets.picture(widgets.source("template", template.id), alt) + widgets.title(template.name))
        _looking(template)
    else:
        faces = say("own.faces", count=len(template.faces))
        st.html(
            widgets.boxed(widgets.source("template", template.id, 640), alt, template.faces)
            + widgets.title(template.name)
            + widgets.small(faces)
        )
        choose(template.id, template.name, chosen)
    if st.button(say("own.delete"), key=f"drop-{template.id}", type="tertiary", help=template.name):
        with errors.told():
            client().delete_template(template.id)
            remember("chosen", [each for each in chosen if each != template.id])
            st.rerun()


@st.fragment(run_every=2)
def _looking(template: schemas.Template) -> None:
    """Wait until its faces were looked for."""
    with errors.living():
        job = client().job(template.job)
        if job.state == "succeeded":
            st.rerun()
        elif job.fault is not None:
            st.warning(errors.words(job.fault.code, job.fault.message))
        else:
            widgets.soft(say("own.looking"))
