"""Labels: what analysts found out, stored once however often they are sent."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast
from uuid import uuid4

from nearnorm.client.answers import LabelItem, LabelReceipt, StoredLabels
from nearnorm.client.problems import RequestError
from nearnorm.client.steps import Listing, Steps, get, pages, send, within


def label(
    labels: LabelItem | Iterable[LabelItem],
    *,
    analyst: str | None = None,
    model: str = "default",
    strict: bool = False,
    idempotency_key: str | None = None,
) -> Steps[StoredLabels]:
    """Store labels and retractions, up to 1,000 at once: all of them, or none.

    `analyst` says those that name nobody. They are sent again where the answer was lost, and stored once.
    Where none came at all, the exception has the `idempotency_key` to send the same labels again with, within
    7 days.

    Raises InvalidRequestError, whose `by_index` tells what is wrong with which label; RequestError.
    """
    document = {"model": model, "strict": strict or None, "labels": _items(labels, analyst)}
    return (yield from _stored("/feedback", document, idempotency_key))


def label_group(
    event_ids: Iterable[str],
    label: Literal["anomaly", "normal"],
    *,
    analyst: str | None = None,
    class_: str | None = None,
    comment: str | None = None,
    model: str = "default",
    idempotency_key: str | None = None,
) -> Steps[StoredLabels]:
    """Give up to 1,000 records one label as one verdict, which counts as one piece of evidence."""
    document = {
        "model": model,
        "event_ids": list(event_ids),
        "label": label,
        "analyst": analyst,
        "class": class_,
        "comment": comment,
    }
    return (yield from _stored("/feedback/groups", document, idempotency_key))


def retract_group(
    group: str, *, analyst: str | None = None, model: str = "default", idempotency_key: str | None = None
) -> Steps[StoredLabels]:
    """Take back what is left of a verdict on a group."""
    document = {"model": model, "retract_group": group, "analyst": analyst}
    return (yield from _stored("/feedback/groups", document, idempotency_key))


def preview(
    labels: LabelItem | Iterable[LabelItem], *, analyst: str | None = None, model: str = "default"
) -> Steps[dict[str, Any]]:
    """What labels would do, storing none of them (docs/feedback.md, "Before saving")."""
    document = {"model": model, "labels": _items(labels, analyst), "preview": True}
    found = yield from send("POST", "/feedback", document, repeatable=True)
    return cast("dict[str, Any]", found["preview"])


def receipts(
    *, analyst: str | None = None, model: str = "default", limit: int | None = None
) -> Listing[LabelReceipt]:
    """What became of one's own labels, newest first, `limit` at most."""
    yield from pages("/feedback", "receipts", {"model": model, "analyst": analyst}, limit, 200)


def receipt(feedback_id: str) -> Steps[LabelReceipt]:
    """What became of one label. Raises NotFoundError."""
    return cast("LabelReceipt", (yield from get(within("/feedback", feedback_id))))


def _items(labels: LabelItem | Iterable[LabelItem], analyst: str | None) -> list[Any]:
    given: list[Any] = [labels] if isinstance(labels, Mapping) else list(labels)
    if analyst is None:
        return given
    return [{"analyst": analyst, **item} if isinstance(item, Mapping) else item for item in given]


def _stored(path: str, document: Mapping[str, Any], key: str | None) -> Steps[StoredLabels]:
    key = uuid4().hex if key is None else key
    try:
        found = yield from send("POST", path, document, repeatable=True, headers={"Idempotency-Key": key})
    except RequestError as error:
        error.idempotency_key = key
        raise
    return cast("StoredLabels", found)
