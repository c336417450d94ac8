"""Review: what to look at next, who looks at it, and all there is to know of one record."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from nearnorm.client.answers import EventDetails, HeldRecord, QueuedRecord, RaisedAlert
from nearnorm.client.steps import Listing, Steps, get, pages, send, within


def queue(
    *, model: str = "default", explain: bool = False, limit: int | None = None
) -> Listing[QueuedRecord]:
    """What to review next, the most worth it first, `limit` at most. It claims nothing."""
    query: dict[str, str | bool | None] = {"model": model, "explain": explain or None}
    yield from pages("/queue", "queue", query, limit, 50 if explain else 200)


def groups(
    *, model: str = "default", analyst: str | None = None, limit: int = 20
) -> Steps[list[dict[str, Any]]]:
    """Of what the queue offers next the records that are alike, the largest groups first; their `event_ids`
    go to `label_group`."""
    found = yield from get("/queue/groups", {"model": model, "analyst": analyst, "limit": limit})
    return cast("list[dict[str, Any]]", found["groups"])


def claim(
    *,
    analyst: str | None = None,
    model: str = "default",
    limit: int = 20,
    seconds: int = 600,
    explain: bool = False,
) -> Steps[list[QueuedRecord]]:
    """Hold up to `limit` records of the queue for one analyst, for so many seconds: all that he holds now.

    Sent again it renews them, and fills up what was judged meanwhile.
    """
    document = {"model": model, "analyst": analyst, "limit": limit, "seconds": seconds, "explain": explain}
    found = yield from send("POST", "/claims", document, repeatable=True)
    return cast("list[QueuedRecord]", found["claims"])


def claims(
    *, analyst: str | None = None, everybody: bool = False, model: str = "default", limit: int | None = None
) -> Listing[HeldRecord]:
    """What an analyst holds; with the role operate, what `everybody` does."""
    query: dict[str, str | bool | None] = {"model": model, "analyst": analyst, "everybody": everybody or None}
    yield from pages("/claims", "claims", query, limit, 1_000)


def release(
    event_ids: Iterable[str] | None = None,
    *,
    analyst: str | None = None,
    key: str | None = None,
    model: str = "default",
) -> Steps[int]:
    """Give records back, or all that the analyst holds; how many others may have now. `key`: of another API
    key's analyst, for operators."""
    ids = None if event_ids is None else list(event_ids)
    document = {"model": model, "analyst": analyst, "key": key, "event_ids": ids}
    return cast("int", (yield from send("POST", "/claims/release", document, repeatable=True))["released"])


def skip(event_id: str, reason: str, *, analyst: str | None = None, model: str = "default") -> Steps[int]:
    """Leave a record to others, and say why; how many analysts have skipped it."""
    document = {"model": model, "analyst": analyst, "event_id": event_id, "reason": reason}
    return cast("int", (yield from send("POST", "/claims/skip", document, repeatable=True))["skipped"])


def event(event_id: str, *, analyst: str | None = None, model: str = "default") -> Steps[EventDetails]:
    """All there is to know of one record under review. Raises NotFoundError."""
    found = yield from get(within("/events", event_id), {"model": model, "analyst": analyst})
    return cast("EventDetails", found)


def alerts(
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    include_records: bool = False,
    explain: bool = False,
    model: str = "default",
    limit: int | None = None,
) -> Listing[RaisedAlert]:
    """What raised an alert from `since` on, before `until` (with a zone), newest first, `limit` at most."""
    yield from _alerts("plain", since, until, include_records, explain, model, limit)


def findings(
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    include_records: bool = False,
    explain: bool = False,
    model: str = "default",
    limit: int | None = None,
) -> Listing[dict[str, Any]]:
    """The same as OCSF's Detection Findings."""
    yield from _alerts("ocsf", since, until, include_records, explain, model, limit)


def _alerts(
    shape: str,
    since: datetime | str | None,
    until: datetime | str | None,
    include_records: bool,
    explain: bool,
    model: str,
    limit: int | None,
) -> Listing[Any]:
    query = {
        "shape": shape,
        "since": since.isoformat() if isinstance(since, datetime) else since,
        "until": until.isoformat() if isinstance(until, datetime) else until,
        "include_records": include_records or None,
        "explain": explain or None,
        "model": model,
    }
    yield from pages("/alerts", "alerts", query, limit, 50 if explain else 200)
