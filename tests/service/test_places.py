"""No answer tells where anything lies on this machine, whoever asks and whatever went wrong.

The home has a name that nothing else has: no route, page or problem repeats it. What is wrong is told all the
same, by the names of models, versions and files.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from msgspec import Struct

from nearnorm.models.bundle.bundle import MODEL, Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.access import keyring
from nearnorm.service.app import Application, create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.places import NamedPlaces
from nearnorm.service.retraining.worker import Worker
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD
from tests.service.bundles import make_bundle
from tests.service.ledger.test_sqlite_file import overwritten
from tests.service.running import home_with, serving
from tests.service.waiting import until

NOWHERE_ELSE = "backstage-7f3a"
ROLES = ("score", "feedback", "operate")
CUT = "cut"
"""A line whose version is damaged."""
Asked = tuple[str, str, Any]
"""Method, path and body."""


class Service(Struct):
    """A running one, the secret of a key for each role (None: without a key), and the damaged version."""

    app: Application
    settings: Settings
    client: httpx.Client
    keys: list[str | None]
    damaged: str

    def ask(self, method: str, path: str, **sent: Any) -> str:
        """What is answered to whoever may ask for everything."""
        return self._answers(method, path, **sent)[0].text

    def told(self, *more: Asked) -> list[str]:
        """The answers, of all routes without parameters and of `more`, that tell where something lies."""
        asked: list[Asked] = [
            ("GET", route.path, None)
            for route in self.app.routes
            if isinstance(route, APIRoute) and "GET" in (route.methods or ()) and "{" not in route.path
        ]
        return [
            f"{method} {path}: {answer.text}"
            for method, path, body in (*asked, *more)
            for answer in self._answers(method, path, json=body)
            if NOWHERE_ELSE in answer.text or NOWHERE_ELSE in str(answer.headers)
        ]

    def _answers(self, method: str, path: str, **sent: Any) -> list[httpx.Response]:
        return [
            self.client.request(method, path, headers={"x-api-key": key} if key else {}, **sent)
            for key in self.keys
        ]


@contextmanager
def running(tmp_path: Path, bundle: Bundle, other_bundle: Bundle) -> Iterator[Service]:
    home = home_with(tmp_path / NOWHERE_ELSE, bundle)
    store = ModelStore(home / "models")
    damaged = store.publish(other_bundle.path)
    store.activate(damaged, by="test", model=CUT)
    os.truncate(store.root / "versions" / damaged / MODEL, 100)
    keys: list[str | None] = [None]
    with closing(Ledger.at(None, home)) as ledger:
        migrate(ledger)
        with ledger.write() as connection:
            keys += [keyring.create(connection, role, [role], "test")[0] for role in ROLES]
    settings = Settings(home=home, allow_anonymous=True)
    app = create_app(settings)
    with serving(app) as client:
        yield Service(app, settings, client, keys, damaged)


@pytest.fixture
def service(tmp_path: Path, bundle: Bundle, other_bundle: Bundle) -> Iterator[Service]:
    with running(tmp_path, bundle, other_bundle) as service:
        yield service


def test_a_version_that_is_damaged_is_told_by_its_name(service: Service, tmp_path: Path) -> None:
    shifted = make_bundle(tmp_path / "shifted", golden_shift=0.1)
    store: ModelStore = service.app.state.registry.store
    bad = store.publish(shifted.path)
    asked: list[Asked] = [
        ("POST", "/score", {"model": CUT, "records": [RECORD]}),
        ("POST", f"/v2/models/{CUT}/infer", {"inputs": []}),
        ("GET", f"/policy?model={CUT}", None),
        ("GET", f"/models/{service.damaged}", None),
        ("POST", f"/models/{service.damaged}/activate", {"model": CUT}),
        ("POST", f"/models/{bad}/activate", {}),
        ("POST", "/models/rollback", {"model": CUT}),
        ("POST", "/models/nothing/activate", {}),
    ]
    assert service.told(*asked) == []
    damage = f"{MODEL} of version {service.damaged} does not have the digest"
    assert damage in service.ask("GET", "/readyz")
    assert damage in service.ask("POST", f"/models/{service.damaged}/activate", json={"model": CUT})
    refused = service.ask("POST", f"/models/{bad}/activate", json={})
    assert f"version {bad} scores its golden rows differently" in refused


def test_files_that_a_model_was_trained_on_are_told_without_their_folders(service: Service) -> None:
    store: ModelStore = service.app.state.registry.store
    champion = store.champion()
    assert champion is not None
    manifest = service.client.get(f"/models/{champion.version}").json()
    assert "/" not in manifest["source"]


def test_files_that_a_pattern_stands_for_are_told_by_what_is_below_its_folder(tmp_path: Path) -> None:
    places = NamedPlaces(Settings(home=tmp_path))
    lake, bucket = f"{tmp_path.parent}/lake", "s3://accounts/lake"
    for folder in (lake, bucket):
        told = places.named(
            f"{folder}/day=3/a.parquet cannot be read «GET {folder}»", [f"{folder}/day=*/*.parquet"]
        )
        assert told == "day=3/a.parquet cannot be read"


def test_a_store_out_of_reach_is_told_as_that(service: Service) -> None:
    store: ModelStore = service.app.state.registry.store
    (store.root / "activations" / "00000099.json").mkdir()
    until(lambda: "entry 99" in service.ask("GET", "/readyz"))
    activation = f"/models/{service.damaged}/activate"
    assert service.told(("POST", activation, {}), ("POST", "/models/rollback", {})) == []
    assert "entry 99 of the activation log cannot be read" in service.ask("POST", activation, json={})


def test_a_damaged_ledger_is_told_without_its_place(service: Service) -> None:
    file = service.settings.home / "nearnorm.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwritten(file)
    label = {"labels": [{"record": RECORD, "label": "anomaly"}]}
    until(lambda: "is damaged" in service.ask("GET", "/readyz"))
    assert service.told(("POST", "/feedback", label), ("POST", "/jobs", {})) == []
    assert "its file is damaged" in service.ask("POST", "/feedback", json=label)


def test_a_ledger_that_was_deleted_is_told_without_its_place(service: Service) -> None:
    for file in service.settings.home.glob("nearnorm.db*"):
        file.unlink()
    label = {"labels": [{"record": RECORD, "label": "anomaly"}]}
    until(lambda: "ledger" in service.ask("GET", "/readyz"))
    assert service.told(("POST", "/feedback", label), ("POST", "/jobs", {})) == []


def test_a_job_that_fails_over_a_file_names_it_without_its_place(service: Service) -> None:
    job = service.client.post("/jobs", json={"model": CUT}).raise_for_status().json()
    worker = Worker(service.settings)
    with closing(worker.ledger):
        found = worker.next_job()
        assert found is not None
        worker.work(found)
    at = f"/jobs/{job['job_id']}"
    assert service.told(("GET", at, None), ("GET", f"{at}/flips", None), ("GET", f"{at}/events", None)) == []
    assert f"{MODEL} of version {service.damaged} does not have the digest" in service.ask("GET", at)


def test_what_fails_beside_the_requests_is_told_without_its_place(service: Service) -> None:
    home = service.settings.home
    shutil.rmtree(home / "jobs", ignore_errors=True)
    error = FileNotFoundError(2, "No such file or directory", str(home / "jobs" / "x.json"))
    service.app.state.services.background.failed("looking after files", error)
    assert service.told() == []
    assert "'jobs/x.json in the service's home'" in service.ask("GET", "/readyz")
