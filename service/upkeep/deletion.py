"""Deleting a version, with who and why in the audit trail before it goes."""

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.deleting import delete
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.upkeep.needed import needed

ACTION = "delete"


def delete_version(ledger: Ledger, store: ModelStore, version: str, by: str, reason: str | None) -> None:
    """Events, labels, receipts and jobs keep what they say of it. Raises StoreError where it is needed,
    LedgerUnavailable where nothing can be noted: then it stays."""
    detail = {"version": version} | ({"reason": reason} if reason is not None else {})
    with ledger.write() as connection:
        audit.note(connection, by, ACTION, "store", **detail)
    try:
        delete(store, version, by, lambda: needed(store, ledger), reason)
    except NearnormError as error:
        with ledger.write() as connection:
            audit.note_failure(connection, by, ACTION, "store", version, str(error))
        raise
