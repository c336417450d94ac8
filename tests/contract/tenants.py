"""Two tenants of one service, each with a key for its own models: what the other must not see."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
from msgspec import Struct
from msgspec.structs import asdict

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.review import read_review
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD
from tests.service.running import serving
from tests.service.waiting import until

MINE, THEIRS = "acme-cards", "beta-loans"


class Belongings(Struct, frozen=True):
    """What a tenant has, by the names that parameters, fields and forms give it."""

    model: str
    version: str
    record_id: str
    analyst: str
    comment: str
    key: str
    event_id: str
    reference_id: str
    feedback_id: str
    group_id: str
    job_id: str
    webhook_id: str
    host: str
    budget: str
    reason: str

    def absent(self) -> Self:
        """The like of it, which nobody has."""
        return type(self)(**{name: _other(value) for name, value in asdict(self).items()})

    def blanked(self, text: str) -> str:
        """A text without what it repeats of these."""
        for name, value in sorted(asdict(self).items(), key=lambda pair: -len(pair[1])):
            text = text.replace(value, f"<{name}>")
        return text

    def told_in(self, answer: str, asked: str) -> list[str]:
        """What an answer tells of it that was not in the question."""
        return [value for value in asdict(self).values() if value in answer and value not in asked]


def _other(value: str) -> str:
    """As long, of the same characters, and nobody's."""
    return value[:-3] + ("000" if value[-3:] != "000" else "111")


class Tenants(Struct):
    """The service; secrets of a tenant's key, of the other's, of one that sees all; what the other has."""

    client: httpx.Client
    mine: str
    theirs: str
    all: str
    belongings: Belongings

    def asked(self, secret: str | None, method: str, path: str, **sent: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return self.client.request(method, path, headers=headers, **sent)

    def told(self, secret: str, method: str, path: str, **sent: Any) -> dict[str, Any]:
        """What an answer holds that has to be a good one."""
        answer = self.asked(secret, method, path, **sent)
        assert answer.status_code < 300, f"{method} {path}: {answer.text}"
        found: dict[str, Any] = answer.json()
        return found


@contextmanager
def two_tenants(home: Path, mine: Bundle, theirs: Bundle) -> Iterator[Tenants]:
    """The other tenant has used all that there is."""
    store = ModelStore(home / "models")
    for bundle, model in ((mine, MINE), (theirs, THEIRS)):
        store.activate(store.publish(bundle.path), by="test", model=model)
    settings = Settings(home=home, audit_rate=1.0, webhook_hosts="hooks.beta.example:9")
    ledger = Ledger.at(None, home)
    migrate(ledger)
    with ledger.write() as connection:
        for bundle in (mine, theirs):
            reference_rows.put(connection, bundle.version, read_review(bundle.path, bundle.manifest.core))
        secrets = [
            keyring.create(connection, name, keyring.ROLES, "test", lines=lines)[0]
            for name, lines in (
                ("acme-desk", SeenLines.of(["acme-*"])),
                ("beta-desk", SeenLines.of(["beta-*"])),
                ("ops", EVERY_LINE),
            )
        ]
    ledger.close()
    with serving(create_app(settings)) as client:
        mine_key, their_key, all_keys = secrets
        tenants = Tenants(client, mine_key, their_key, all_keys, _BLANK)
        tenants.belongings = _lived_in(tenants, theirs.version)
        tenants.told(tenants.mine, "POST", "/score", json={"model": MINE, "records": [RECORD]})
        yield tenants


_BLANK = Belongings(**dict.fromkeys(Belongings.__struct_fields__, ""))


def _lived_in(tenants: Tenants, version: str) -> Belongings:
    """What the other tenant has once it has done everything."""

    def do(method: str, path: str, **body: Any) -> dict[str, Any]:
        return tenants.told(tenants.theirs, method, path, json={"model": THEIRS} | body)

    record_id, analyst, comment = "beta-loan-7781", "beta-bob-analyst", "beta-comment: known fraudster"
    strange = [RECORD | {"amount": 900.0 + step} for step in range(6)]
    ids = [record_id, *(f"{record_id}-{step}" for step in range(1, 6))]
    results = do("POST", "/score", ids=ids, records=strange)["results"]
    until(lambda: logged_of(tenants))
    events = [result["event_id"] for result in results]
    said = {"label": "anomaly", "analyst": analyst, "comment": comment}
    (receipt,) = do("POST", "/feedback", labels=[{"event_id": events[0], **said}])["receipts"]
    group = do("POST", "/feedback/groups", event_ids=events[1:3], label="normal", analyst=analyst)["group"]
    do("POST", "/claims", analyst=analyst, limit=5)
    do("POST", "/claims/skip", event_id=events[4], reason="beta-reason-skip", analyst=analyst)
    do("POST", "/snoozes", event_id=events[5], seconds=3600, reason="beta-reason-sleep", analyst=analyst)
    do("PUT", "/policy", budget="37.77 a day")
    reference = next(
        item
        for item in tenants.told(tenants.theirs, "GET", "/queue", params={"model": THEIRS, "limit": 200})[
            "queue"
        ]
        if item["why"] == "reference"
    )
    job = do("POST", "/jobs")
    webhook = tenants.told(
        tenants.theirs,
        "POST",
        "/webhooks",
        json={"url": "https://hooks.beta.example:9/x", "kinds": ["alert", "job"], "description": "beta-hook"},
    )
    do("POST", f"/models/{version}/activate", reason="beta-reason-activate")
    tenants.told(tenants.theirs, "POST", "/session", json={"key": tenants.theirs, "analyst": analyst})
    tenants.client.cookies.clear()
    return Belongings(
        THEIRS,
        version,
        record_id,
        analyst,
        comment,
        "beta-desk",
        events[0],
        reference["event_id"],
        receipt["feedback_id"],
        group,
        job["job_id"],
        webhook["webhook_id"],
        "hooks.beta.example",
        "37.77 a day",
        "beta-reason",
    )


def logged_of(tenants: Tenants) -> bool:
    return "\nnearnorm_events_waiting 0.0\n" in tenants.asked(tenants.all, "GET", "/metrics").text
