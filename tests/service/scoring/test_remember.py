"""What decides and what is kept between scores and answer: labels, novelty, what the budget holds back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.digest import record_digest
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback.verdict_cache import VerdictCache
from nearnorm.service.ids import now_ms
from nearnorm.service.inference.engine import Engine
from nearnorm.service.ledger.database import Ledger, sqlite_url
from nearnorm.service.ledger.label_history import Verdict
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.events.traffic import Counted
from nearnorm.service.ledger.tables.feedback.labels import Standing
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.metrics.counters import LineRows, ModelMeter
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.answer_parts import NOTHING, Remembered
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores
from nearnorm.service.verdict.budget import TrafficShare
from nearnorm.service.verdict.policies import InForce, Policies
from nearnorm.service.verdict.solve import Raised, Solved
from nearnorm.service.verdict.traffic import score_bins
from tests.service.bundles import SEEN, make_bundle

USUAL = {"amount": 55.0, "epoch": 1.7e9, "new device": False, "country": "DE", "channel": "web"}
NOVEL = USUAL | {"amount": 61.0}
STRANGE = USUAL | {"amount": 900.0}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An amount above 60 is novel, and has an ordinary score for a while."""
    narrow = {**SEEN.numeric, "amount": SEEN.numeric["amount"].model_copy(update={"high": 60.0})}
    seen = SEEN.model_copy(update={"numeric": narrow})
    return make_bundle(tmp_path_factory.mktemp("bundle") / "quiet", seen=seen)


@pytest.fixture
def model(bundle: Bundle) -> LoadedModel:
    loaded = LoadedModel("default", bundle.manifest, Engine(bundle, "cpu"), 1000)
    loaded.meter, loaded.counted = ModelMeter(), LineRows()
    return loaded


class Remembering:
    """A memory whose log keeps alerts only, and what it was shown."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.log = EventLog(ledger, rate=0.0, bounds=Amount(1000, 10**9), days=1.0)
        self.policies, self.verdicts = Policies(), VerdictCache()
        self.memory = Memory(self.log, self.policies, self.verdicts)

    def note(self, model: LoadedModel, *records: dict[str, Any]) -> tuple[Scores, Remembered]:
        encoded = model.encoder.encode(Envelope(records=list(records)))
        (scores,) = model.split([encoded.rows], model.run([encoded.rows]))
        return scores, self.memory.note(model, encoded, scores, "app")

    def learn(self, model: LoadedModel, record: dict[str, Any], verdict: Verdict, at: int = 0) -> None:
        values = model.encoder.record(model.encoder.encode(Envelope(records=[record])), 0)
        standing = Standing(record_digest(values), verdict, f"f-{verdict}", at, 1, json.dumps(values))
        self.verdicts.learn("default", [standing])

    def raised(self) -> tuple[int, int, int, int]:
        """Alerts by score, novelty and label, and rows that were held back."""
        counted = self.traffic()
        return counted.by_score, counted.by_novelty, counted.by_label, counted.held_back

    def traffic(self) -> Counted:
        self.log.traffic.count()
        (counted,) = self.log.traffic.changed()
        return counted

    def kept(self) -> list[Event]:
        self.log.flush()
        with self.ledger.read() as connection:
            return events.fetch(connection, sa.select(events.events).order_by(events.events.c.event_id))


@pytest.fixture
def remembering(tmp_path: Path) -> Iterator[Remembering]:
    ledger = Ledger(sqlite_url(tmp_path / "nearnorm.db"))
    migrate(ledger)
    yield Remembering(ledger)
    ledger.close()


def suppressing(model: LoadedModel, days: float = 1.0) -> InForce:
    policy = PolicyVersion(1, "1% of normal", True, days, True, None, 0, "me", None)
    nothing = Raised(0, 0, 0, 0, 0, 0, 0)
    solved = Solved(TrafficShare(0.01), 0.01, None, None, False, None, None, nothing, 0, 0, False)
    return InForce(policy, model.ref.version, "line", 0.9, 100, solved, 0.0)


def test_an_ordinary_row_is_counted_and_leaves_nothing_else(
    remembering: Remembering, model: LoadedModel
) -> None:
    scores, remembered = remembering.note(model, USUAL)
    assert (scores.anomaly, remembered) == ([False], NOTHING)
    counted = remembering.traffic()
    assert (counted.version, counted.caller, counted.rows) == (model.ref.version, "app", 1)
    assert counted.bins == {int(score_bins.count(scores.scored).argmax()): 1}
    assert remembering.raised() == (0, 0, 0, 0)
    assert remembering.kept() == []


def test_an_alert_is_kept_with_its_own_numbers(remembering: Remembering, model: LoadedModel) -> None:
    scores, remembered = remembering.note(model, USUAL, STRANGE)
    (event,) = remembering.kept()
    assert remembered.event_ids == {1: event.event_id}
    assert (event.model, event.model_version, event.caller) == ("default", model.ref.version, "app")
    assert (event.score, event.percentile) == (scores.score[1], scores.percentile[1])
    assert event.record["amount"] == 900.0
    assert (event.anomaly, event.probability) == (True, 1.0)


def test_an_alert_is_counted_by_one_cause_alone(remembering: Remembering, model: LoadedModel) -> None:
    """By the score, then by novelty, and by a label only where nothing else had raised it."""
    remembering.learn(model, USUAL, "anomaly")
    scores, remembered = remembering.note(model, USUAL, NOVEL, STRANGE)
    assert scores.anomaly == [True, True, True]
    assert remembering.raised() == (1, 1, 1, 0)
    assert remembered.matched[0].feedback_id == "f-anomaly"
    assert remembered.event_ids.keys() == {0, 1, 2}


@pytest.mark.parametrize("record", [NOVEL, STRANGE])
def test_a_label_that_agrees_with_an_alert_raised_nothing(
    remembering: Remembering, model: LoadedModel, record: dict[str, Any]
) -> None:
    remembering.learn(model, record, "anomaly")
    remembering.note(model, record)
    assert remembering.raised() == ((0, 1, 0, 0) if record is NOVEL else (1, 0, 0, 0))


def test_where_novelty_does_not_alert_a_label_on_what_is_novel_raised_it_alone(
    remembering: Remembering, model: LoadedModel
) -> None:
    model.alert_on_novel = False
    remembering.learn(model, NOVEL, "anomaly")
    scores, _ = remembering.note(model, NOVEL)
    assert scores.novel
    assert scores.anomaly == [True]
    assert remembering.raised() == (0, 0, 1, 0)


def test_a_confirmed_normal_decides_only_where_the_policy_says_so_and_is_kept_all_the_same(
    remembering: Remembering, model: LoadedModel
) -> None:
    remembering.learn(model, STRANGE, "normal", at=now_ms())
    scores, remembered = remembering.note(model, STRANGE)
    assert scores.anomaly == [True], "no policy is in force"
    assert not remembered.matched[0].suppressed
    remembering.policies.adopt("default", suppressing(model))
    scores, remembered = remembering.note(model, STRANGE)
    assert scores.anomaly == [False]
    assert remembered.matched[0].suppressed
    assert remembering.raised() == (1, 0, 0, 0), "of two rows the first"
    kept = [(event.anomaly, event.probability) for event in remembering.kept()]
    assert kept == [(True, 1.0), (False, 1.0)], "it was certain to be kept"
    remembering.policies.adopt("default", suppressing(model, days=1e-9))
    scores, _ = remembering.note(model, STRANGE)
    assert scores.anomaly == [True], "it does not decide for ever"


def test_a_normal_that_needs_no_suppressing_says_that_it_suppressed_nothing(
    remembering: Remembering, model: LoadedModel
) -> None:
    remembering.learn(model, USUAL, "normal", at=now_ms())
    remembering.policies.adopt("default", suppressing(model))
    scores, remembered = remembering.note(model, USUAL)
    assert scores.anomaly == [False]
    assert remembered.matched[0].suppressed is False
    assert remembered.event_ids == {}


def test_analysts_who_disagree_decide_nothing(remembering: Remembering, model: LoadedModel) -> None:
    remembering.policies.adopt("default", suppressing(model))
    remembering.learn(model, STRANGE, "conflict", at=now_ms())
    scores, remembered = remembering.note(model, STRANGE)
    assert scores.anomaly == [True]
    assert remembered.matched[0].label == "conflict"


def test_what_the_budget_alone_holds_back_is_kept_and_is_no_alert(
    remembering: Remembering, model: LoadedModel
) -> None:
    scores, _ = remembering.note(model, NOVEL, USUAL)
    novel, usual = scores.score
    model.alert_on_novel = False
    model.held_from = max(novel, usual)
    held = int(usual > novel)
    assert remembering.note(model, NOVEL, USUAL)[1].event_ids.keys() == {held}
    assert remembering.note(model, NOVEL, USUAL, STRANGE)[1].event_ids.keys() == {held, 2}
    assert remembering.raised() == (1, 1, 0, 2), "one alert by novelty of the first request"
    assert [event.anomaly for event in remembering.kept()] == [True, False, False, True]


def test_a_verdict_overrules_its_own_row_and_no_other_of_the_batch(
    remembering: Remembering, model: LoadedModel
) -> None:
    remembering.learn(model, USUAL, "anomaly")
    items = [model.encoder.encode(Envelope(records=[USUAL])) for _ in range(2)]
    first, second = model.split([item.rows for item in items], model.run([item.rows for item in items]))
    remembering.memory.note(model, items[0], first, "app")
    assert (first.anomaly, second.anomaly, second.batch.anomaly) == ([True], [False], [False, False])
