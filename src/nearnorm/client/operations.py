"""What operators ask for: alert budget, models, drift, readiness, the audit trail, and any other route."""

from collections.abc import Mapping
from typing import Any, cast

import httpx

from nearnorm.client.answers import ActivationNote, AuditNote, ModelVersion, PolicyAnswer, ReadyAnswer
from nearnorm.client.json_body import encoded
from nearnorm.client.steps import Call, Listing, Query, Steps, decoded, get, pages, send, within


def policy(*, model: str = "default") -> Steps[PolicyAnswer]:
    """The alert budget in force: what it promises, what is forecast, what was really raised."""
    return cast("PolicyAnswer", (yield from get("/policy", {"model": model})))


def set_policy(
    budget: str | None = None,
    *,
    suppress_confirmed_normals: bool | None = None,
    suppress_days: float | None = None,
    alert_on_novel: bool | None = None,
    model: str = "default",
) -> Steps[PolicyAnswer]:
    """Change the policy; what is None stays. `budget` is "1% of normal", "1% of traffic", "40 a day",
    "40 each day" or "precision 50%"."""
    document = {
        "model": model,
        "budget": budget,
        "suppress_confirmed_normals": suppress_confirmed_normals,
        "suppress_days": suppress_days,
        "alert_on_novel": alert_on_novel,
    }
    return cast("PolicyAnswer", (yield from send("PUT", "/policy", document)))


def undo_policy(*, model: str = "default") -> Steps[PolicyAnswer]:
    """Put the policy before this one back. Raises ConflictError where there is none."""
    return cast("PolicyAnswer", (yield from send("POST", "/policy/undo", {"model": model})))


def models(*, limit: int | None = None) -> Listing[ModelVersion]:
    """The versions in the store, newest first, `limit` at most."""
    yield from pages("/models", "models", {}, limit, 1_000)


def manifest(version: str) -> Steps[dict[str, Any]]:
    """A version's manifest: schema, training data, reference, metrics. Raises NotFoundError."""
    return cast("dict[str, Any]", (yield from get(within("/models", version))))


def activate(version: str, *, model: str = "default", reason: str | None = None) -> Steps[ActivationNote]:
    """Put a version into service, once it has shown that it can. Raises NotFoundError, ConflictError."""
    document = {"model": model, "reason": reason}
    return cast(
        "ActivationNote", (yield from send("POST", within("/models", version) + "/activate", document))
    )


def rollback(*, model: str = "default", reason: str | None = None) -> Steps[ActivationNote]:
    """Put the version before this one back into service. Raises ConflictError where there is none."""
    document = {"model": model, "reason": reason}
    return cast("ActivationNote", (yield from send("POST", "/models/rollback", document)))


def drift() -> Steps[dict[str, Any]]:
    """How live traffic differs from the traffic that the model learned (docs/operations.md)."""
    return cast("dict[str, Any]", (yield from get("/drift")))


def ready() -> Steps[ReadyAnswer]:
    """Whether a model is loaded; `problems` say what is missing, also where it is ready."""
    response: httpx.Response = yield Call("GET", "/readyz", repeatable=True, answers=(503,))
    return cast("ReadyAnswer", decoded(response))


def audit(*, limit: int | None = None) -> Listing[AuditNote]:
    """Who did what, newest first, `limit` at most. It needs the role operate."""
    yield from pages("/audit", "audit", {}, limit, 1_000)


def request(
    method: str,
    path: str,
    *,
    json: Mapping[str, Any] | None = None,
    query: Query | None = None,
) -> Steps[Any]:
    """What any route of docs/api.md answers: its JSON, or its text. A GET is sent again where its answer was
    lost."""
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"path: {path!r} does not begin with one /")
    response: httpx.Response = yield Call(
        method.upper(),
        path,
        query or {},
        None if json is None else encoded(json),
        {} if json is None else {"Content-Type": "application/json"},
        repeatable=method.upper() in ("GET", "HEAD"),
    )
    kind = response.headers.get("content-type", "")
    return decoded(response) if kind.startswith("application/json") else response.text
