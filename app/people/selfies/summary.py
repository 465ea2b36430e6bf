"""What a person's photos are good for, in one calm panel: how many are good, what they serve, what would open the rest."""

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from app.components import widgets
from app.session import switch_page, translate, translate_or
from tasks import schemas

ENOUGH_GOOD_PHOTOS = 8
"""Good photos from which more change little: as many as show a face from all the sides that count."""
FEW_GOOD_PHOTOS = 2
"""Good photos up to which portraits differ little from each other."""
_ADVISED_FAULTS = {"turned_away", "blurred", "dark", "face_small", "eyes_closed", "several_faces"}
"""Faults that have an advice of their own."""


def show_summary(person: schemas.Person, photos: Sequence[schemas.Selfie]) -> None:
    """Show the panel, with the way to the styles."""
    good = count_good(photos)
    with st.container(border=True, key="photo-set"):
        st.html(_meter(good) + widgets.card_title(_count(good, advice(photos))))
        if 0 < good <= FEW_GOOD_PHOTOS:
            widgets.muted_text(translate("photos.few", count=good))
        abilities = _abilities(person)
        if abilities:
            st.html(abilities)
        if good and person.identity:
            label = translate("photos.go_on")
            if st.button(label, type="primary", icon=":material/palette:"):
                switch_page("create")


def count_good(photos: Sequence[schemas.Selfie]) -> int:
    """How many photos are used."""
    return sum(each.verdict == "use" for each in photos)


def advice(photos: Sequence[schemas.Selfie]) -> str:
    """One sentence on what would help most: "3 more frontal photos would help"."""
    missing = ENOUGH_GOOD_PHOTOS - count_good(photos)
    if missing <= 0:
        return translate("advice.enough")
    faults = Counter(
        reason.code for each in photos if each.verdict in {"spare", "refuse"} for reason in each.reasons[:1]
    )
    counts = sorted(((count, code) for code, count in faults.items() if code in _ADVISED_FAULTS), reverse=True)
    # Of faults that are equally common none is named.
    clear = len(counts) == 1 or (len(counts) > 1 and counts[0][0] > counts[1][0])
    return translate(f"advice.{counts[0][1] if clear else 'any'}", count=missing)


def _count(good: int, advice: str) -> str:
    if good >= ENOUGH_GOOD_PHOTOS:
        return translate("photos.good_many", count=good, advice=advice)
    return translate("photos.good_of", count=good, enough=ENOUGH_GOOD_PHOTOS, advice=advice)


def _meter(good: int) -> str:
    """A row of dots, one for each photo of a good set, which screen readers skip: the sentence beside says the same."""
    filled = min(good, ENOUGH_GOOD_PHOTOS)
    dots = "".join(f"<i{' class=p-on' if at < filled else ''}></i>" for at in range(ENOUGH_GOOD_PHOTOS))
    return f'<div class="p-meter" aria-hidden="true">{dots}</div>'


def _abilities(person: schemas.Person) -> str:
    """What the set serves as chips, and below what would open the rest; empty while nothing is known of it."""
    if person.serves is None:
        return ""
    serves = person.serves
    holds = {
        "studio": bool(serves.studio),
        "idphoto": serves.idphoto,
        "template": bool(serves.template),
        "training": serves.training,
    }
    chips = [widgets.chip(translate(f"photos.set_{kind}"), "good") for kind, value in holds.items() if value]
    row = widgets.row(f"<span>{translate('photos.set_serves')}</span>", *chips) if chips else ""
    lines = [translate_or(f"opens.{each.code}", each.tip).format(name=person.name) for each in person.opens]
    return row + (widgets.bullet_list(lines) if lines else "")
