"""What follows the ledger: its trouble is told while it lasts, and no longer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.app import create_app
from nearnorm.service.follower import FOLLOWING, Follower
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.settings import Settings
from tests.service.asking import RECORD
from tests.service.running import home_with, serving
from tests.service.waiting import until


def test_trouble_with_the_ledger_stands_among_the_problems_until_it_is_over(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path, bundle)
    with serving(create_app(Settings(home=home))) as client:

        def problems() -> list[str]:
            found: list[str] = client.get("/readyz").json()["problems"]
            return [problem for problem in found if problem.startswith(FOLLOWING)]

        ledger = Ledger(sqlite_url(home / "nearnorm.db"))
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE verdicts RENAME TO elsewhere"))
        until(problems)
        assert "verdicts" in problems()[0]
        with ledger.write() as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO verdicts"))
        until(lambda: problems() == [])
        ledger.close()


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """What this thread says to a ledger meanwhile."""
    found: list[str] = []
    ours = threading.get_ident()

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        if threading.get_ident() == ours:
            found.append(statement)

    engine = ledger._engine
    sa.event.listen(engine, "before_cursor_execute", hear)
    yield found
    sa.event.remove(engine, "before_cursor_execute", hear)


def test_a_look_at_the_ledger_takes_as_many_queries_for_many_models_as_for_one(
    tmp_path: Path, bundle: Bundle
) -> None:
    store = ModelStore(home_with(tmp_path, bundle) / "models")
    app = create_app(Settings(home=tmp_path))
    with serving(app):
        services = app.state.services
        follower: Follower = services.follower

        def look() -> list[str]:
            with statements(services.ledger) as found:
                follower.refresh()
            return found

        follower.close()  # its thread may have begun a look before a model came, and ends it after ours
        follower.refresh()
        alone = look()
        for number in range(5):
            store.activate(bundle.version, by="test", model=f"line-{number}")
        until(lambda: len(app.state.registry.loaded()) == 6)
        follower.refresh()
        assert len(look()) == len(alone)


def test_a_label_and_a_policy_of_another_replica_act_in_their_own_model_alone(
    tmp_path: Path, bundle: Bundle
) -> None:
    store = ModelStore(home_with(tmp_path, bundle) / "models")
    store.activate(bundle.version, by="test", model="cards")
    apps = [create_app(Settings(home=tmp_path)) for _ in range(2)]
    with serving(apps[0]) as writing, serving(apps[1]) as reading:
        said = {"model": "cards", "labels": [{"record": RECORD, "label": "anomaly"}]}
        writing.post("/feedback", json=said).raise_for_status()
        writing.put("/policy", json={"model": "cards", "budget": "7%"}).raise_for_status()

        policies = apps[1].state.services.policies

        def answered(model: str) -> tuple[bool, str]:
            scored = reading.post("/score", json={"model": model, "records": [RECORD]}).json()["results"][0]
            return "matched_feedback" in scored, policies.of(model).policy.budget

        until(lambda: answered("cards") == (True, "7%"))
        assert answered("default") == (False, "1%")
