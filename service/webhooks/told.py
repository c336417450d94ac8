"""What a message says, before it takes a receiver's shape."""

from typing import Any, Literal

from msgspec import Struct

from nearnorm.service.alerts.alert import Alert
from nearnorm.service.ids import iso
from nearnorm.service.ledger.tables.webhooks.subscriptions import Kind


class Told(Struct, frozen=True):
    """`data` is the message itself; `summary` one sentence of it; `page` the service's page about it.

    `subject` is what it is about, whatever becomes of that; `at` in ms since 1970; `alerts` are those of
    `data`, before they are plain.
    """

    message_id: str
    kind: Kind | Literal["test"]
    event: str
    subject: str
    at: int
    data: dict[str, Any]
    page: str | None = None
    alerts: tuple[Alert, ...] = ()

    @property
    def timestamp(self) -> str:
        return iso(self.at)

    @property
    def type(self) -> str:
        return f"{self.kind}.{self.event}"

    @property
    def summary(self) -> str:
        return _SENTENCES[self.kind](self.event, self.data)


def _alert(_: str, data: dict[str, Any]) -> str:
    alerts = data["alerts"]
    count = "1 alert" if len(alerts) == 1 else f"{len(alerts)} alerts"
    highest = max(alert["percentile"] for alert in alerts)
    return f"{count} of model {data['model']}, at percentile {highest:.2f} at most"


def _job(event: str, data: dict[str, Any]) -> str:
    ended = ", and its version serves" if data.get("activated") else ""
    return f"Retraining of model {data['model']}: job {data['job_id']} is {_STATES.get(event, event)}{ended}"


_STATES = {"succeeded": "done", "queued": "waiting", "failed": "over: it failed"}


def _drift(event: str, data: dict[str, Any]) -> str:
    verb = "began to drift" if event == "began" else "no longer drifts"
    return f"Traffic of model {data['model']}: {data['signal']} {verb}"


def _budget(event: str, data: dict[str, Any]) -> str:
    if event == "ended":
        return f"Model {data['model']} keeps its alert budget ({data['budget']}) again"
    return f"Model {data['model']} parts from its alert budget ({data['budget']}): {data['problems'][0]}"


def _quarantine(event: str, data: dict[str, Any]) -> str:
    verb = "counts no more (quarantine)" if event == "began" else "counts again"
    where = f" of model {data['model']}" if "model" in data else ""
    return f"What {data['labeller']} {data['name']} says{where} {verb}"


def _model(event: str, data: dict[str, Any]) -> str:
    verb = "was rolled back to" if event == "rolled_back" else "is served by"
    return f"Model {data['model']} {verb} version {data['version'][:12]}, by {data['by']}"


def _test(_: str, data: dict[str, Any]) -> str:
    return f"A test of webhook {data['webhook_id']}: nothing happened"


_SENTENCES = {
    "alert": _alert,
    "job": _job,
    "drift": _drift,
    "budget": _budget,
    "quarantine": _quarantine,
    "model": _model,
    "test": _test,
}
