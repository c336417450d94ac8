"""NEARNORM_TRUSTED_KEYS: only what a trusted key signed is served; the worker signs what it trains."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.signature import SIGNATURE, SigningKey, TrustedKeys
from nearnorm.models.retraining import TrainingRequest, read_part
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.settings import Settings
from tests.models.bundle.test_signature import key_pair
from tests.service.bundles import make_bundle
from tests.service.process.test_server import command, environment, refused
from tests.service.running import home_with, serving
from tests.service.working import champions, opened, read, with_result, worked


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return key_pair(tmp_path, "ours")


def test_only_a_signed_version_is_served(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    signed = make_bundle(tmp_path / "signed", seed=1)
    told = subprocess.run(
        command("models", "sign", str(signed.path), "--key", str(keys[0])),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"signed {signed.version}\n"
    home = home_with(tmp_path / "home", make_bundle(tmp_path / "unsigned"))
    store = ModelStore(home / "models")
    with serving(create_app(Settings(home=home, trusted_keys=str(keys[1])))) as client:
        (problem,) = client.get("/readyz").json()["problems"]
        assert "is not signed" in problem
        assert answer(client) == 503
        assert client.post(f"/models/{store.publish(signed.path)}/activate").status_code == 200
        assert answer(client) == 200
        unsigned = store.versions()[0]
        response = client.post(f"/models/{unsigned}/activate")
        assert response.status_code == 409
        assert "is not signed" in response.json()["detail"]
        assert answer(client) == 200


def test_a_rollback_to_an_unsigned_version_changes_nothing_over_http_or_by_the_command_line(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    unsigned, signed = make_bundle(tmp_path / "unsigned"), make_bundle(tmp_path / "signed", seed=1)
    SigningKey(keys[0]).sign(signed.path)
    home = home_with(home_with(tmp_path / "home", unsigned), signed)
    log = ModelStore(home / "models").activations()
    with serving(create_app(Settings(home=home, trusted_keys=str(keys[1])))) as client:
        response = client.post("/models/rollback")
        assert response.status_code == 409
        assert "is not signed" in response.json()["detail"]
        assert answer(client) == 200
        assert client.get("/readyz").json()["problems"] == []
    trusting = {"NEARNORM_TRUSTED_KEYS": str(keys[1])}
    assert "is not signed" in refused(home, "models", "rollback", **trusting)
    assert "is not signed" in refused(home, "models", "activate", unsigned.version, **trusting)
    assert ModelStore(home / "models").activations() == log


def test_the_command_line_activates_nothing_whose_golden_rows_come_out_differently(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path / "home", bundle)
    bad = ModelStore(home / "models").publish(make_bundle(tmp_path / "bad", golden_shift=0.1).path)
    assert "golden rows" in refused(home, "models", "activate", bad)
    assert [entry.version for entry in ModelStore(home / "models").activations()] == [bundle.version]


def answer(client: httpx.Client) -> int:
    return client.post("/score", json={"records": [{"amount": 1, "channel": "web"}]}).status_code


def test_a_trusted_key_that_cannot_be_read_is_told_in_one_line_at_the_start(
    tmp_path: Path, bundle: Bundle, keys: tuple[Path, Path]
) -> None:
    home = home_with(tmp_path / "home", bundle)
    two = f"{keys[1]}, {tmp_path}/none.pem"
    line = refused(home, "serve", "--port", "0", NEARNORM_TRUSTED_KEYS=two, NEARNORM_WORKER="off")
    assert "none.pem cannot be read" in line


def test_the_worker_signs_what_it_publishes(tmp_path: Path, bundle: Bundle, keys: tuple[Path, Path]) -> None:
    home = home_with(tmp_path / "home", bundle)
    trained = make_bundle(tmp_path / "trained", seed=2)
    for worker in opened(Settings(home=home, signing_key=keys[0])):
        worker.work(with_result(worker, trained))
        assert champions(worker) == [bundle.version, trained.version]
        published = worker.store.open(trained.version)
    assert (published.path / SIGNATURE).is_file()
    TrustedKeys([keys[1]]).check(published)


def test_the_worker_trains_from_no_champion_that_nobody_trusted_signed(
    tmp_path: Path, bundle: Bundle, keys: tuple[Path, Path]
) -> None:
    home = home_with(tmp_path / "home", bundle)
    for worker in opened(Settings(home=home, trusted_keys=str(keys[1]))):
        job = worked(worker)
        assert job.state == "failed"
        assert "is not signed" in job.reasons[0]
        assert not (home / "jobs" / job.job_id).exists(), "nothing was handed to a training"


def test_the_worker_asks_for_the_base_data_that_the_signature_is_over(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    signed = make_bundle(tmp_path / "signed", seed=1)
    SigningKey(keys[0]).sign(signed.path)
    home = home_with(tmp_path / "home", signed)
    for worker in opened(Settings(home=home, trusted_keys=str(keys[1]))):
        job = worked(worker)
        request = read_part(home / "jobs" / job.job_id / "request.json", TrainingRequest)
    assert (request.version, request.trusted) == (signed.version, True)


def test_what_a_worker_trained_and_no_trusted_key_signed_is_not_activated(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    signed, trained = make_bundle(tmp_path / "signed", seed=1), make_bundle(tmp_path / "trained", seed=2)
    SigningKey(keys[0]).sign(signed.path)
    home = home_with(tmp_path / "home", signed)
    for worker in opened(Settings(home=home, trusted_keys=str(keys[1]))):
        job = with_result(worker, trained)
        worker.work(job)
        assert champions(worker) == [signed.version]
        ended = read(worker, job.job_id)
        assert ended.state == "succeeded"
        assert ended.activated is False
        assert "is not signed" in ended.reasons[0]
        assert "NEARNORM_SIGNING_KEY" in ended.reasons[0]


def test_where_no_key_is_set_its_library_is_not_loaded(tmp_path: Path, bundle: Bundle) -> None:
    home = home_with(tmp_path / "home", bundle)
    program = (
        "import sys; from nearnorm.service.app import create_app; "
        "from nearnorm.service.settings import load_settings; "
        "import nearnorm.service.process.server, nearnorm.service.retraining.worker; "
        "create_app(load_settings()); "
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], env=environment(home), check=True)
