"""Two services on one PostgreSQL and one store: both serve what was promoted or rolled back on either."""

from pathlib import Path

from nearnorm import Client
from nearnorm.models.store.folder import ModelStore
from tests.journey.loop import serves, serving
from tests.service.bundles import make_bundle
from tests.service.ledger.servers import running_postgres
from tests.service.waiting import until


def test_both_follow_every_promotion_and_rollback_within_five_seconds(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    first, second = (store.publish(make_bundle(tmp_path / str(seed), seed=seed).path) for seed in (0, 1))
    store.activate(first, by="test")
    with running_postgres() as url:
        shared = {"database_url": url, "model_store": str(tmp_path / "store"), "worker": "off"}
        with serving(tmp_path / "a", **shared) as one, serving(tmp_path / "b", **shared) as other:
            for _ in range(3):
                one.activate(second)
                follow(other, second)
                other.rollback()
                follow(one, first)
            job_id = one.retrain()["job_id"]
            assert other.job(job_id)["state"] == "queued"
            assert other.retrain()["job_id"] == job_id


def follow(client: Client, wanted: str) -> None:
    until(lambda: serves(client, wanted), 5)
