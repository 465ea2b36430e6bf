"""A portrait compared with what it was made from: each face with its photo, a picture with the one people were put into."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from app.components import compare, errors, markdown, widgets
from app.session import client, translate
from portrait.errors import UserError
from tasks import schemas


@dataclass(frozen=True, slots=True)
class Comparison:
    """One picture that a portrait can be laid over."""

    label: str
    picture: compare.ComparedPicture
    portrait_eyes: list[float] | None


def show(portrait: schemas.Portrait, alt: str, names: Mapping[str, str]) -> bool:
    """Show the portrait under a slider with what it was made from; False where nothing of that is left, which is told."""
    try:
        before = client().before(portrait.id)
    except UserError as error:
        if error.code not in {"not_found", "erased"}:
            raise
        st.info(markdown.plain(translate("compare.nothing")), icon=":material/compare:")
        return False
    offered = comparisons(portrait, before, names)
    chosen = offered[0]
    if len(offered) > 1:
        place = st.segmented_control(
            translate("compare.with"),
            range(len(offered)),
            default=0,
            required=True,
            format_func=lambda at: markdown.plain(offered[at].label),
            key=f"compare-with-{portrait.id}",
        )
        chosen = offered[place or 0]
    with errors.show_errors():
        after = compare.ComparedPicture(
            widgets.picture_url("portrait", portrait.id, widgets.LARGE), alt, chosen.portrait_eyes
        )
        shape = (portrait.width, portrait.height)
        compare.comparison_slider(chosen.picture, after, translate("compare.label"), shape)
    aligned = chosen.picture.eyes is not None and chosen.portrait_eyes is not None
    widgets.muted_text(translate("compare.help" if aligned else "compare.help_unaligned"))
    return True


def comparisons(portrait: schemas.Portrait, before: schemas.Before, names: Mapping[str, str]) -> list[Comparison]:
    """What a portrait can be compared with: what it was made from first, then the photo of each face."""
    label = translate(f"compare.{before.kind}")
    picture = compare.ComparedPicture(widgets.picture_url("before", portrait.id, widgets.LARGE), label, before.eyes)
    found = [Comparison(label, picture, before.portrait_eyes)]
    several = len(before.faces) > 1
    for face in before.faces:
        if not face.selfie or (before.kind == "selfie" and not several):
            continue
        name = names.get(face.person, "") or translate("results.face", number=face.face)
        label = translate("compare.selfie_of", name=name)
        url = widgets.picture_url("selfie", face.selfie, widgets.LARGE)
        found.append(Comparison(label, compare.ComparedPicture(url, label, face.eyes), face.portrait_eyes))
    return found[1:] if before.kind == "selfie" and len(found) > 1 else found
