"""Disks that are full or may not be written: what serves goes on, what is refused leaves nothing behind."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import NearnormError, StoreOutOfReach
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.services import Services
from nearnorm.service.settings import Settings
from tests.service.asking import problem
from tests.service.bundles import make_bundle
from tests.service.running import home_with, serving
from tests.service.scoring.test_endpoint import RECORD

Remount = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Remount]]:
    """A disk of one megabyte, and how to mount it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small disk")

    mount("size=1m")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    return [make_bundle(tmp_path_factory.mktemp("made") / str(seed), seed=seed) for seed in (0, 1)]


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return filler


def test_a_full_disk_refuses_a_version_whole_and_serves_on(
    disk: tuple[Path, Remount], made: list[Bundle], tmp_path: Path
) -> None:
    folder, _ = disk
    store = ModelStore(folder / "models")
    store.activate(store.publish(made[0].path), by="test")
    settings = Settings(home=tmp_path / "home", model_store=str(folder / "models"))
    with serving(create_app(settings)) as client:
        filler = fill(folder)
        with pytest.raises(StoreOutOfReach, match="No space left on device"):
            store.publish(made[1].path)
        assert [f.name for f in (folder / "models" / "versions").iterdir()] == [made[0].version]
        refused = client.post(f"/models/{made[0].version}/activate")
        assert "No space left" in problem(refused, 503, "store-unavailable")["detail"]
        assert "score" in client.post("/score", json={"records": [RECORD]}).json()["results"][0]
        filler.unlink()
        assert store.publish(made[1].path) == made[1].version
        assert client.post(f"/models/{made[1].version}/activate").status_code == 200


def test_a_store_that_may_only_be_read_serves_and_refuses_activations(
    disk: tuple[Path, Remount], made: list[Bundle], tmp_path: Path
) -> None:
    folder, mount = disk
    store = ModelStore(folder / "models")
    for bundle in made:
        store.publish(bundle.path)
    store.activate(made[0].version, by="test")
    mount("remount,ro")
    with serving(create_app(Settings(home=tmp_path / "home", model_store=str(folder / "models")))) as client:
        assert client.get("/readyz").json()["ready"] is True
        assert "score" in client.post("/score", json={"records": [RECORD]}).json()["results"][0]
        refused = client.post(f"/models/{made[1].version}/activate")
        assert "Read-only file system" in problem(refused, 503, "store-unavailable")["detail"]
        served = client.post("/score", json={"records": [RECORD]}).json()["model"]["version"]
        assert served == made[0].version  # no half of an activation


def test_a_ledger_that_may_only_be_read_is_told_in_one_sentence_at_the_start(
    disk: tuple[Path, Remount], made: list[Bundle], tmp_path: Path
) -> None:
    folder, mount = disk
    url = f"sqlite:///{folder}/nearnorm.db"
    (folder / "nearnorm.db").touch()
    mount("remount,ro")
    services = Services(Settings(home=home_with(tmp_path / "home", made[0]), database_url=url))
    with pytest.raises(NearnormError, match=r"the ledger cannot be opened.*readonly") as told:
        services.start(dict)
    assert "\n" not in str(told.value)
    services.close()
