"""The rules of an ID photo: on its card whether they hold, on its page each with what was measured and what to do."""

from html import escape

import streamlit as st

from app.components import widgets
from app.session import language, translate, translate_or
from app.words.translation import translate_sentence
from tasks import schemas

UNITS = {"mm", "px", "°", "%", "kB"}
"""Units that are shown; the others are shares and indices that say nothing to people."""


def broken_rules(portrait: schemas.Portrait) -> list[schemas.IdPhotoRule]:
    """The rules that an ID photo breaks; none for other portraits."""
    return [each for each in portrait.rules if not each.ok]


def chip(portrait: schemas.Portrait) -> str:
    """Whether an ID photo meets its rules, as HTML; empty for other portraits."""
    if not portrait.rules:
        return ""
    broken = len(broken_rules(portrait))
    if broken:
        return widgets.chip(translate("idphoto.broken", count=broken), "poor")
    return widgets.chip(translate("idphoto.met", count=len(portrait.rules)), "good")


def show_rules(portrait: schemas.Portrait) -> None:
    """Write every rule of an ID photo: first those that it breaks, with what to do; nothing for other portraits."""
    if not portrait.rules:
        return
    broken = broken_rules(portrait)
    st.html(chip(portrait))
    if broken:
        st.html(_table(broken))
    with st.expander(translate("idphoto.all", count=len(portrait.rules))):
        st.html(_table([each for each in portrait.rules if each.ok]))
    drawn = dict(portrait.recipe.get("drawn", {}))
    if drawn.get("source"):
        checked = drawn.get("checked")
        show_source(str(drawn["source"]))
        widgets.muted_text(translate("idphoto.compared", day=checked) if checked else translate("idphoto.not_compared"))


def show_source(source: str) -> None:
    """Write where a rule comes from: the name of a document, which is English in every language, or a usage."""
    before, _, after = translate("idphoto.source", source="\n").partition("\n")
    told = translate_sentence(language(), source)
    cited = escape(told) if told != source else f'<span lang="en">{escape(source)}</span>'
    st.html(f'<p class="p-soft">{escape(before)}{cited}{escape(after)}</p>')


def _table(rules: list[schemas.IdPhotoRule]) -> str:
    columns = ("rule", "measured", "allowed")
    head = "".join(f'<th scope="col">{escape(translate(f"idphoto.{name}"))}</th>' for name in columns)
    return f'<table class="p-rules"><thead><tr>{head}</tr></thead><tbody>{"".join(map(_row, rules))}</tbody></table>'


def _row(rule: schemas.IdPhotoRule) -> str:
    unit = "%" if rule.unit.startswith("%") else rule.unit
    unit = f" {unit}" if unit in UNITS else ""
    name = translate_or(f"idphoto_rule.{rule.rule}", rule.rule)
    tip = "" if rule.ok else widgets.muted(translate_or(f"idphoto_tip.{rule.rule}", rule.tip))
    measured = "–" if rule.measured is None else f"{rule.measured:.4g}{unit}"
    return (
        f'<tr><th scope="row">{escape(name)}{tip}</th><td>{escape(measured)}</td>'
        f"<td>{escape(_allowed(rule.allowed) + unit)}</td></tr>"
    )


def _allowed(ends: list[float | None]) -> str:
    low, high = (None if end is None else f"{end:g}" for end in ends)
    if low is None:
        return "–" if high is None else f"≤ {high}"
    return f"≥ {low}" if high is None else low if low == high else f"{low} – {high}"
