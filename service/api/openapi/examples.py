"""An example of every body that a route reads. It runs as it is, or with an id of yours in its id's place."""

from collections.abc import Mapping
from typing import Any

_EVENT = "01jdzv5k3n8w7qg2m4x6c9t0ab"
_BODIES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("/feedback/groups", "post"): {"event_ids": [_EVENT], "label": "normal", "preview": True},
    ("/analysts/{name}/quarantine", "post"): {"why": "labels without looking"},
    ("/claims", "post"): {"limit": 5, "seconds": 600},
    ("/claims/release", "post"): {"event_ids": [_EVENT]},
    ("/claims/skip", "post"): {"event_id": _EVENT, "reason": "not my field"},
    ("/snoozes", "post"): {"event_id": _EVENT, "seconds": 86_400, "reason": "the bank calls back"},
    ("/aggregates", "post"): {
        "records": [{"payment": "p-1", "at": "2026-11-30T10:00:00Z", "card": "c-42", "amount": 12.5}]
    },
    ("/session", "post"): {"analyst": "ann"},
    ("/policy", "put"): {"budget": "2% of normal"},
    ("/policy/undo", "post"): {"model": "default"},
    ("/jobs", "post"): {"model": "default"},
    ("/models/{version}/activate", "post"): {"reason": "finds more of last week's anomalies"},
    ("/models/rollback", "post"): {"reason": "alerts on too much"},
    ("/webhooks", "post"): {"url": "https://hooks.example.com/nearnorm", "kinds": ["alert"]},
    ("/webhooks/{webhook_id}/replay", "post"): {},
    ("/forget", "post"): {"record_id": "customer-4711"},
}


def add_examples(paths: dict[str, Any]) -> None:
    """Put the examples of bodies that are the same for every model into the document's paths."""
    for (path, method), example in _BODIES.items():
        paths[path][method]["requestBody"]["content"]["application/json"]["example"] = example


def label_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A label as a caller sends it who has no id of the record."""
    return {"labels": [{"record": record, "label": "normal", "comment": "a known customer"}]}


def with_example(operations: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """A path's operations with an example of what is posted; those that are given stay as they are."""
    post, sent = operations["post"], operations["post"]["requestBody"]
    media = {**sent["content"]["application/json"], "example": body}
    content = {**sent["content"], "application/json": media}
    return {**operations, "post": {**post, "requestBody": {**sent, "content": content}}}
