"""The admins' page of the audit log: who did what to what, and when; a filter by kind and by account is in the address."""

from html import escape

import streamlit as st

from app.components import widgets
from app.session import client, query, set_query, translate, translate_or
from portrait.numbers import read_integer
from tasks import schemas

KINDS = ("key", "code", "session", "owner", "consent", "export", "erasure", "job", "jobs", "style", "model", "guard")
"""The first words of actions."""
STEP = 100
"""Entries more by each press of the button."""
MOST = 1000
"""Entries that are shown at most; the API gives all of them."""


def page() -> None:
    """Show the newest entries of a kind and an account."""
    widgets.operator_heading("audit")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    kind = left.pills(
        translate("audit.kinds"),
        KINDS,
        default=query("kind") if query("kind") in KINDS else None,
        format_func=lambda each: translate(f"audit_kind.{each}"),
        key="audit-kind",
    )
    actor = right.text_input(translate("audit.actor"), query("actor"), key="audit-actor").strip()
    shown = min(MOST, read_integer(query("shown")) or STEP)
    set_query(kind=kind or "", actor=actor)
    entries = client().audit(kind or "", actor, shown)
    if not entries:
        st.info(translate("audit.nothing"), icon=":material/history:")
        return
    st.html(_table(entries))
    if len(entries) == shown < MOST and st.button(translate("audit.more"), width="stretch"):
        set_query(shown=str(shown + STEP))
        st.rerun()


def _table(entries: list[schemas.AuditEntry]) -> str:
    columns = ("at", "who", "what", "subject")
    head = "".join(f'<th scope="col">{escape(translate(f"audit.{name}"))}</th>' for name in columns)
    body = "".join(_row(each) for each in entries)
    label = escape(translate("audit.title"))
    table = f'<table class="p-rules"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="p-scroll" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def _row(entry: schemas.AuditEntry) -> str:
    action = translate_or(f"audit_action.{entry.action.replace('.', '_')}", entry.action)
    detail = widgets.format_list([f"{name} {value}" for name, value in entry.detail.items()])
    at, subject = entry.at.strftime("%Y-%m-%d %H:%M:%S"), f"{entry.subject} {detail}".strip()
    # Ids, and the names that details have in every language.
    cells = (
        at,
        f"<code>{escape(entry.actor)}</code>",
        escape(action),
        f"<code>{escape(subject)}</code>" if subject else "",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
