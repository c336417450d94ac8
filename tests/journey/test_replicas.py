"""Two services on one PostgreSQL and one store: both serve what was promoted or rolled back on either."""

from pathlib import Path

import httpx

from nearnorm.models.store.folder import ModelStore
from tests.journey.loop import serving
from tests.service.bundles import make_bundle
from tests.service.ledger.servers import running_postgres
from tests.service.waiting import until


def version(client: httpx.Client) -> str:
    served: str = client.get("/readyz").json()["models"][0]["version"]
    return served


def test_both_follow_every_promotion_and_rollback_within_five_seconds(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    first, second = (store.publish(make_bundle(tmp_path / str(seed), seed=seed).path) for seed in (0, 1))
    store.activate(first, by="test")
    with running_postgres() as url:
        shared = {"database_url": url, "model_store": str(tmp_path / "store"), "worker": "off"}
        with serving(tmp_path / "a", **shared) as one, serving(tmp_path / "b", **shared) as other:
            for _ in range(3):
                one.post(f"/models/{second}/activate").raise_for_status()
                follow(other, second)
                other.post("/models/rollback").raise_for_status()
                follow(one, first)
            job_id = one.post("/jobs").json()["job_id"]
            assert other.get(f"/jobs/{job_id}").json()["state"] == "queued"
            assert other.post("/jobs").json()["job_id"] == job_id


def follow(client: httpx.Client, wanted: str) -> None:
    until(lambda: version(client) == wanted, 5)
