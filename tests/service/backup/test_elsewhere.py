"""`nearnorm restore` on an empty machine: what was there is there, on both databases, from folder and S3."""

from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.settings import Settings
from tests.models.store.s3_server import BUCKET
from tests.service.asking import RECORD, label, stored
from tests.service.backup.machines import Elsewhere, lived, service, taken, told
from tests.service.commands import Command

pytestmark = pytest.mark.usefixtures("programs")


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_service_goes_on_elsewhere_as_it_was(
    kind: str,
    settings: Settings,
    newer: Bundle,
    nearnorm: Command,
    elsewhere: Elsewhere,
    payments: Bundle,
    request: pytest.FixtureRequest,
    place: str,
) -> None:
    if kind == "s3":
        request.getfixturevalue("s3")
        place = f"s3://{BUCKET}/backups/monday"
    with service(settings) as client:
        before = lived(client, settings, newer)
        taken(nearnorm, place)
        stored(label(client, {"record": RECORD | {"amount": 1.0}, "label": "normal"}))  # is lost
    new = elsewhere(model_store=f"s3://{BUCKET}/new" if kind == "s3" else None)
    done = nearnorm("restore", place)
    assert done.code == 0, done.err
    assert f"default is {newer.version}" in done.out
    with service(new) as client:
        assert told(client, before["ids"]) == before
        again = label(
            client,
            {"event_id": before["receipts"][0]["event_id"], "label": "anomaly", "analyst": "ann"},
            key="k",
        )
        assert stored(again) == before["ids"][:1], "a label that is sent again is the same"
        assert len(client.get("/feedback").json()["receipts"]) == 2
        actions = [entry["action"] for entry in client.get("/audit").json()["audit"]]
        assert actions[:2] == ["restore", "backup"]
        assert client.post("/models/rollback").json()["version"] == payments.version
        stored(label(client, {"record": RECORD | {"amount": 2.0}, "label": "normal"}))
        client.post("/jobs").raise_for_status()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_versions_that_were_deleted_stay_so_and_signatures_and_reports_come_along(
    settings: Settings, newer: Bundle, nearnorm: Command, elsewhere: Elsewhere, place: str
) -> None:
    store = settings.open_store()
    store.publish(newer.path)
    assert nearnorm("models", "delete", newer.version, "--yes").code == 0
    (store.root / "versions" / store.versions()[0] / "report.html").write_text("<html>")
    taken(nearnorm, place)
    new = elsewhere()
    assert nearnorm("restore", place).code == 0
    assert "was deleted on" in nearnorm("models", "activate", newer.version).err
    (version,) = new.open_store().versions()
    assert (new.open_store().open(version).path / "report.html").read_text() == "<html>"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_lies_elsewhere_is_named(
    settings: Settings, nearnorm: Command, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.home / "base.parquet").write_bytes(b"")
    assert nearnorm("models", "create", "--model", "cards", "--training-data", "s3://x/cards/").code == 0
    monkeypatch.setenv("NEARNORM_SIGNING_KEY", "/keys/signing.pem")
    told_ = taken(nearnorm, place).err
    assert f"not in the backup: {settings.home / 'base.parquet'}\n" in told_
    assert "not in the backup: s3://x/cards/ (training data of 'cards')\n" in told_
    assert "not in the backup: /keys/signing.pem (NEARNORM_SIGNING_KEY)\n" in told_
    assert "not in the backup: made up (data of 'default', for its retrainings)\n" in told_


def test_a_backup_of_one_kind_of_ledger_is_not_restored_into_another(
    settings: Settings,
    nearnorm: Command,
    elsewhere: Elsewhere,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken(nearnorm, place)
    elsewhere()
    sqlite = str(settings.database_url).startswith("sqlite")
    other = "postgresql://nobody@127.0.0.1:9/x" if sqlite else f"sqlite:///{tmp_path}/x.db"
    monkeypatch.setenv("NEARNORM_DATABASE_URL", other)
    assert "the backup's ledger is of" in nearnorm("restore", place).err
