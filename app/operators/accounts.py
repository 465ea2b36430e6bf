"""The admins' page of accounts: invites somebody, and shows who may come in, with keys and quotas; locks and removes."""

from collections.abc import Callable, Sequence

import streamlit as st

from app.components import errors, markdown, widgets
from app.session import client, get_state, page_address, query, set_query, set_state, switch_page, translate
from tasks import schemas

ROLES: tuple[schemas.Role, ...] = ("person", "operator", "admin")
PAGE = 20
"""Accounts shown at once."""
_QUOTAS = (
    *("people", "photos_today", "portraits_today", "trainings_today", "jobs"),
    *("worker_minutes_today", "upload_megabytes_today", "stored_megabytes"),
)


def page() -> None:
    """Show the account of `?id=`, or the form that invites and every account."""
    widgets.operator_heading("accounts")
    id = query("id")
    if id:
        _show_account(id)
        return
    _show_invitation_form()
    found = client().owners()
    wanted = st.text_input(translate("accounts.search"), key="accounts-search").strip().casefold()
    found = [each for each in found if wanted in each.id.casefold()]
    st.html(widgets.muted(translate("accounts.count", count=len(found))))
    pages = -(-len(found) // PAGE)
    number = st.pagination(pages, key="accounts-page") if pages > 1 else 1
    widgets.cards(
        found[(number - 1) * PAGE : number * PAGE], _show_card, lambda owner: f"account-{owner.id}", width=260
    )


def _show_invitation_form() -> None:
    """The form that makes a link for somebody, and the link with its QR code until it is put away."""
    invitation: schemas.Invitation | None = get_state("invitation")
    if invitation is not None:
        _show_invitation(invitation)
        return
    with st.expander(translate("accounts.invite"), icon=":material/person_add:"), st.form("invite", border=False):
        widgets.muted_text(translate("accounts.invite_help"))
        owner = st.text_input(translate("accounts.name"), max_chars=64, help=translate("accounts.name_help"))
        role: schemas.Role | None = st.segmented_control(
            translate("accounts.role"),
            ROLES,
            default="person",
            required=True,
            format_func=lambda each: translate(f"role.{each}"),
            help=translate("accounts.role_help"),
        )
        sent = st.form_submit_button(translate("accounts.make_link"), type="primary", icon=":material/link:")
    if sent and not owner.strip():
        st.warning(translate("accounts.need_name"))
    elif sent:
        errors.attempt(lambda: set_state("invitation", client().invite(owner.strip(), role or "person")))


def _show_invitation(invitation: schemas.Invitation) -> None:
    link = widgets.sign_in_link(invitation.code)
    with st.container(border=True, key="invitation"):
        st.html(widgets.card_title(translate("accounts.link_for", name=invitation.owner)))
        left, right = st.columns([3, 1], vertical_alignment="center")
        left.code(link, language=None, wrap_lines=True)
        day, role = widgets.format_date(invitation.expires), translate(f"role.{invitation.role}")
        left.html(widgets.muted(translate("accounts.link_help", day=day, role=role)))
        right.html(widgets.qr_code(link, translate("accounts.code_alt")))
        if left.button(translate("accounts.link_done"), key="invitation-done"):
            set_state("invitation", None)
            st.rerun()


def _show_card(owner: schemas.Owner) -> None:
    st.html(widgets.card_title(owner.id) + widgets.row(*_chips(owner)) + widgets.muted(_last_use(owner)))
    name = translate("accounts.open_help", name=owner.id)
    if st.button(
        translate("accounts.open"), key=f"account-open-{owner.id}", help=markdown.plain(name), width="stretch"
    ):
        switch_page("accounts", id=owner.id)


def _chips(owner: schemas.Owner) -> list[str]:
    chips = [widgets.chip(translate("accounts.disabled"), "poor")] if owner.disabled else []
    counts = {"people": owner.people, "sessions": owner.sessions, "keys": owner.keys}
    return chips + [widgets.chip(translate(f"accounts.{kind}", count=count)) for kind, count in counts.items()]


def _last_use(owner: schemas.Owner) -> str:
    if owner.used is None:
        return translate("accounts.never_used")
    return translate("accounts.used", when=widgets.time_ago(owner.used))


def _show_account(id: str) -> None:
    """Show one account: what it uses, its keys, and what can be done with it."""
    back = translate("accounts.back")
    st.html(f'<p class="p-back"><a href="{page_address("accounts")}" target="_self">← {back}</a></p>')
    found = [each for each in client().owners() if each.id == id]
    if not found:
        st.info(translate("accounts.gone"), icon=":material/person_off:")
        return
    [owner] = found
    st.header(markdown.plain(owner.id), anchor=False)
    st.html(widgets.row(*_chips(owner)) + widgets.muted(_last_use(owner)))
    keys = client().keys()
    left, right = st.columns(2, gap="large")
    with left:
        _show_quotas(client().owner_quotas(owner.id))
    with right:
        _show_keys(owner, [each for each in keys if each.owner == owner.id and each.revoked is None])
        _show_actions(owner)


def _show_quotas(quotas: schemas.Quotas) -> None:
    st.subheader(translate("accounts.quotas"), anchor=False)
    for name in _QUOTAS:
        use: schemas.QuotaUse = getattr(quotas, name)
        if use.most:
            text = translate("accounts.of", what=translate(f"quota.{name}"), used=use.used, most=use.most)
            st.progress(min(1.0, use.used / use.most), text=text)


def _show_keys(owner: schemas.Owner, keys: Sequence[schemas.Key]) -> None:
    st.subheader(translate("accounts.their_keys"), anchor=False)
    if not keys:
        widgets.muted_text(translate("accounts.no_keys"))
    for key in keys:
        left, right = st.columns([3, 1], vertical_alignment="center")
        made = translate("accounts.key_made", day=widgets.format_date(key.created), role=translate(f"role.{key.role}"))
        left.html(widgets.card_title(key.name) + widgets.muted(made))
        help = translate("accounts.revoke_help", name=key.name)
        if right.button(translate("accounts.revoke"), key=f"revoke-{key.id}", help=markdown.plain(help)):
            title, question = translate("accounts.revoke"), translate("accounts.revoke_sure", name=key.name)
            _ask(title, question, lambda id=key.id: client().revoke_key(id))


def _show_actions(owner: schemas.Owner) -> None:
    """The buttons that let an account in no more, or remove it; each asks before."""
    st.subheader(translate("accounts.access"), anchor=False)
    actions: dict[str, Callable[[], object]] = {
        "sign_out": lambda: client().sign_owner_out(owner.id),
        "enable" if owner.disabled else "disable": lambda: (
            client().enable_owner(owner.id) if owner.disabled else client().disable_owner(owner.id)
        ),
        "remove": lambda: _remove(owner.id),
    }
    with st.container(horizontal=True):
        for name, act in actions.items():
            if st.button(translate(f"accounts.{name}"), key=f"account-{name}"):
                _ask(translate(f"accounts.{name}"), translate(f"accounts.{name}_sure", name=owner.id), act)


def _remove(id: str) -> None:
    client().remove_owner(id)
    set_query(id="")


def _ask(title: str, question: str, act: Callable[[], object]) -> None:
    @st.dialog(title)
    def confirm() -> None:
        st.write(markdown.plain(question))
        with st.container(horizontal=True):
            sure = st.button(title, type="primary", key="account-sure", on_click=errors.as_callback(act))
            if sure or st.button(translate("accounts.cancel"), key="account-cancel"):
                st.rerun()

    confirm()
