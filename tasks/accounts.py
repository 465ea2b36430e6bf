"""Owners as admins and the terminal handle them: disable, enable, remove; each is written into the audit log."""

from portrait.errors import UserError
from tasks.auth import Caller
from tasks.files import Files
from tasks.ledger.access.audit import REMOVED, SYSTEM
from tasks.ledger.access.owners import OwnerRow
from tasks.ledger.ledger import Ledger
from tasks.ledger.privacy.erasures import ErasureRow, Request


def disable(ledger: Ledger, owner: str, caller: Caller | None, now: float) -> OwnerRow:
    """Let an owner in no more; None is the system. Raises `UserError` (`not_found`, `own_account`)."""
    _check_other(owner, caller)
    with ledger.database.write() as connection:
        row = ledger.owners.disable(owner, now, connection)
        ledger.audit.add(_actor(caller), "owner.disabled", owner, {}, now, connection)
    return row


def enable(ledger: Ledger, owner: str, caller: Caller | None, now: float) -> OwnerRow:
    """Let an owner in again; raises `UserError` (`not_found`)."""
    with ledger.database.write() as connection:
        row = ledger.owners.enable(owner, connection)
        ledger.audit.add(_actor(caller), "owner.enabled", owner, {}, now, connection)
    return row


def remove(ledger: Ledger, owner: str, caller: Caller | None, now: float) -> ErasureRow:
    """Delete an owner and every row of theirs; whoever calls it, or the keeper, erases the files.

    Receipts, proofs of consent and the audit log stay without the owner's name: see `forget_removed`. Raises `UserError`
    (`not_found`, `own_account`).
    """
    _check_other(owner, caller)
    with ledger.database.write() as connection:
        ledger.owners.get(owner, connection)
        erasure = ledger.erasures.erase_owner(Request(owner, now, _actor(caller)), connection=connection)
        ledger.owners.remove(owner, connection)
        ledger.audit.add(_actor(caller), "owner.removed", REMOVED, {"erasure": erasure.id}, now, connection)
    return erasure


def forget_removed(ledger: Ledger, files: Files) -> int:
    """Take the names of owners whose removal is done out of what is left; returns how many. The keeper calls it as well."""
    names = ledger.owners.removed()
    for owner in names:
        files.erase_empty_folders(owner)
        with ledger.database.write() as connection:
            ledger.consents.forget_owner(owner, connection)
            ledger.audit.forget_owner(owner, connection)
            ledger.owners.forget(owner, connection)
    return len(names)


def _check_other(owner: str, caller: Caller | None) -> None:
    if caller is not None and caller.owner == owner:
        raise UserError("own_account", "You cannot do this to your own account. Let another admin do it.")


def _actor(caller: Caller | None) -> str:
    return SYSTEM if caller is None else caller.actor
