"""Several portraits at once: selected on their cards, downloaded as a zip, marked as favourites, deleted with undo."""

from collections.abc import Sequence
from urllib.parse import urlencode

import streamlit as st

from app.components import errors, markdown, menu, undo, widgets
from app.people.gallery.cards import select_key
from app.session import client, translate
from tasks import schemas

MAX_IN_ZIP = 200
FORMATS = ("", "jpg", "png", "webp")
"""Formats of downloads; empty is as it was delivered."""
SIDES = (0, 2048, 1024, 512)
"""Long sides of downloads in pixels; 0 is the original."""


def selected(portraits: Sequence[schemas.Portrait]) -> list[schemas.Portrait]:
    """Those of these portraits whose box is ticked."""
    return [each for each in portraits if st.session_state.get(select_key(each.id))]


def rendering_form(key: str, longest: int) -> dict[str, str]:
    """Ask for format and size of a download, as parameters of its address; sizes below `longest` pixels are offered."""
    format = st.selectbox(
        translate("download.format"),
        FORMATS,
        format_func=lambda each: each.upper() if each else translate("download.as_made"),
        key=f"format-{key}",
    )
    side = st.selectbox(
        translate("download.size"),
        [each for each in SIDES if each < longest],
        format_func=lambda each: translate("download.side", side=each) if each else translate("download.original"),
        key=f"side-{key}",
    )
    st.html(f'<p class="p-soft">{menu.verify_link()}</p>')
    return ({"format": format} if format else {}) | ({"side": str(side)} if side else {})


def show_terms(portraits: Sequence[schemas.Portrait]) -> None:
    """Say what is to be handed on with portraits, as the licences of the models that drew them ask."""
    for sentence, page in dict.fromkeys((terms.sentence, terms.page) for each in portraits for terms in each.terms):
        st.caption(f"{markdown.plain(errors.sentence(sentence))} [{translate('download.terms')}]({page})")


def show_total(portraits: Sequence[schemas.Portrait], total: int) -> None:
    """Say how many portraits there are, with a button that selects those that are shown."""
    with st.container(horizontal=True, vertical_alignment="center", key="total"):
        st.html(widgets.muted(translate("results.total", count=total, shown=len(portraits))))
        st.button(
            translate("results.select_all", count=len(portraits)),
            type="tertiary",
            icon=":material/select_all:",
            on_click=_set_all,
            args=(portraits, True),
        )


def show_bar(portraits: Sequence[schemas.Portrait]) -> None:
    """Show what can be done with the selected ones; nothing while none is selected."""
    chosen = selected(portraits)
    if not chosen:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="selection"):
        st.html(f'<b role="status">{translate("results.selected", count=len(chosen))}</b>')
        with st.popover(translate("results.zip"), icon=":material/download:"):
            rendering = rendering_form("zip", max(max(each.width, each.height) for each in chosen))
            query = urlencode([("id", each.id) for each in chosen[:MAX_IN_ZIP]] + list(rendering.items()))
            widgets.download_link(
                f"/take/portraits.zip?{query}", translate("results.take", count=len(chosen[:MAX_IN_ZIP]))
            )
            show_terms(chosen[:MAX_IN_ZIP])
        every = all(each.favourite for each in chosen)
        st.button(
            translate("results.unfavour" if every else "results.favour"),
            icon=":material/favorite:",
            on_click=errors.as_callback(lambda: _set_favourites(chosen, not every)),
        )
        st.button(
            translate("results.delete"),
            icon=":material/delete:",
            on_click=errors.as_callback(lambda: _remove(chosen)),
        )
        st.button(
            translate("results.clear"),
            type="tertiary",
            icon=":material/close:",
            on_click=_set_all,
            args=(chosen, False),
        )


def _set_all(portraits: Sequence[schemas.Portrait], ticked: bool) -> None:
    for each in portraits:
        st.session_state[select_key(each.id)] = ticked


def _set_favourites(portraits: Sequence[schemas.Portrait], favourite: bool) -> None:
    for each in portraits:
        if each.favourite != favourite:
            client().set_favourite(each.id, favourite)


def _remove(portraits: Sequence[schemas.Portrait]) -> None:
    """Delete portraits and offer to bring them back; those before one that fails are offered, too."""
    removed: list[str] = []
    try:
        for each in portraits:
            client().remove_portrait(each.id)
            removed.append(each.id)
    finally:
        if removed:
            _set_all(portraits, False)
            undo.offer("portrait", removed, translate("results.deleted", count=len(removed)))
