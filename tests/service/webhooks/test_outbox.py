"""The outbox: written with what it tells of, ordered by subject, bounded, taken by one."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from nearnorm.service.access import erasure
from nearnorm.service.background import Background
from nearnorm.service.ids import new_id, new_ids, now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events import events
from nearnorm.service.ledger.tables.policy import PolicyVersion
from nearnorm.service.ledger.tables.webhooks import activation_log, alerts, conditions, outbox, subscriptions
from nearnorm.service.ledger.tables.webhooks.conditions import Condition
from nearnorm.service.ledger.tables.webhooks.outbox import Message
from nearnorm.service.ledger.tables.webhooks.subscriptions import Kind, Webhook
from nearnorm.service.settings import Settings
from nearnorm.service.verdict.budget import parse
from nearnorm.service.verdict.policies import InForce
from nearnorm.service.verdict.solve import Raised, Solved
from nearnorm.service.verdict.traffic.pace import Forecast
from nearnorm.service.webhooks.delivery import Deliverer
from nearnorm.service.webhooks.links import new_link_secret
from nearnorm.service.webhooks.retries import Retries
from nearnorm.service.webhooks.sender import Attempt, Sender
from nearnorm.service.webhooks.signature import new_secret
from nearnorm.service.webhooks.watch import parted


def subscribe(ledger: Ledger, *kinds: Kind, **more: Any) -> Webhook:
    new = Webhook(
        webhook_id=new_id(),
        url=f"https://hooks.example.com/{new_id()}",
        kinds=kinds,
        format="standard",
        records=False,
        analyst=None,
        routing_key=None,
        description="",
        secret=new_secret(),
        old_secret=None,
        old_until=None,
        link_secret=new_link_secret(),
        at=now_ms(),
        actor="ops",
    )
    new = replace(new, **more)
    with ledger.write() as connection:
        subscriptions.add(connection, new)
    return new


def announce(ledger: Ledger, subject: str, event: str = "queued") -> None:
    with ledger.write() as connection:
        outbox.announce(connection, "job", event, subject, {"model": "default", "job_id": subject})


def due(ledger: Ledger, now: int | None = None) -> list[Message]:
    with ledger.read() as connection:
        return outbox.due(connection, now_ms() if now is None else now)


def take(ledger: Ledger, message: Message, now: int | None = None) -> Message | None:
    with ledger.write() as connection:
        return outbox.take(connection, message, now_ms() if now is None else now)


def rows_of(count: int, anomaly: bool = True, model: str = "default") -> list[events.Row]:
    cells = (1, model, "v1", "person", "digest", '{"amount": 1.0}', 0.9, 99.5, anomaly, 0, False, 1.0)
    return [(event_id, *cells, "app", 200, None, None) for event_id in new_ids(count)]


def raise_alerts(ledger: Ledger, rows: Sequence[events.Row]) -> None:
    with ledger.write() as connection:
        alerts.announce(connection, rows)
        events.append(connection, rows)


def waiting(ledger: Ledger, webhook: Webhook) -> list[Message]:
    with ledger.read() as connection:
        return outbox.page(connection, webhook.webhook_id, "waiting", 2_000, None)[::-1]


def test_an_alert_of_a_message_that_is_read_again_is_told_once(ledger: Ledger) -> None:
    webhook = subscribe(ledger, "alert")
    for row in rows_of(2):
        raise_alerts(ledger, [(*row[:-1], "records:0:7")])
    [message] = waiting(ledger, webhook)
    assert message.parts == 1


def test_nothing_is_told_that_was_rolled_back(ledger: Ledger) -> None:
    subscribe(ledger, "job")
    with ledger.attempt() as connection:
        outbox.announce(connection, "job", "queued", "job:1", {})
    assert due(ledger) == []


def test_a_webhook_is_told_of_its_own_kinds_alone(ledger: Ledger) -> None:
    jobs, _ = subscribe(ledger, "job", "drift"), subscribe(ledger, "model")
    announce(ledger, "job:1")
    assert [message.webhook_id for message in due(ledger)] == [jobs.webhook_id]


def test_a_later_message_of_a_subject_waits_and_other_subjects_go_on(ledger: Ledger) -> None:
    subscribe(ledger, "job")
    announce(ledger, "job:1", "queued")
    announce(ledger, "job:1", "running")
    announce(ledger, "job:2", "queued")
    first, other = due(ledger)
    assert [(m.subject, m.event) for m in (first, other)] == [("job:1", "queued"), ("job:2", "queued")]
    taken = take(ledger, first)
    assert taken is not None
    assert [m.subject for m in due(ledger)] == ["job:2"]
    with ledger.write() as connection:
        outbox.postpone(connection, taken, now_ms() + 60_000, 500, "no")
    assert [m.subject for m in due(ledger)] == ["job:2"]
    with ledger.write() as connection:
        outbox.end(connection, taken, "delivered", now_ms(), 200, None)
    assert [(m.subject, m.event) for m in due(ledger)] == [("job:1", "running"), ("job:2", "queued")]


def test_one_process_has_a_message_and_another_only_once_the_lease_is_over(ledger: Ledger) -> None:
    subscribe(ledger, "job")
    announce(ledger, "job:1")
    (seen,) = due(ledger)
    now = now_ms()
    mine = take(ledger, seen, now)
    assert mine is not None
    assert take(ledger, seen, now) is None
    assert take(ledger, mine, now) is None
    later = now + outbox.LEASE_MS + 1
    (again,) = due(ledger, later)
    theirs = take(ledger, again, later)
    assert theirs is not None
    assert theirs.message_id == mine.message_id
    with ledger.write() as connection:  # the first one's word comes too late
        outbox.end(connection, mine, "dead", later, None, "late")
    with ledger.read() as connection:
        (row,) = outbox.page(connection, seen.webhook_id, None, 10, None)
    assert (row.state, row.attempts) == ("waiting", 2)


def test_alerts_are_gathered_into_one_message_until_it_is_begun_or_full(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "GATHER_MS", 600_000)  # as no pause of a busy machine is
    webhook = subscribe(ledger, "alert")
    raise_alerts(ledger, [*rows_of(3), *rows_of(2, anomaly=False)])
    raise_alerts(ledger, rows_of(2))
    (message,) = waiting(ledger, webhook)
    assert (message.parts, len(message.body["alerts"])) == (5, 5)
    assert due(ledger) == []
    (ready,) = due(ledger, now_ms() + alerts.GATHER_MS)
    assert take(ledger, ready, now_ms() + alerts.GATHER_MS) is not None
    raise_alerts(ledger, rows_of(250))
    assert [m.parts for m in waiting(ledger, webhook)] == [5, 100, 100, 50]


def test_alerts_of_a_group_that_is_written_again_are_told_once(ledger: Ledger) -> None:
    webhook, rows = subscribe(ledger, "alert"), rows_of(3)
    raise_alerts(ledger, rows)
    raise_alerts(ledger, rows)
    assert [m.parts for m in waiting(ledger, webhook)] == [3]


def test_a_flood_fills_the_outbox_to_its_bound_is_told_and_leaves_room_for_the_rest(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_ALERTS_WAITING", 3)
    webhook = subscribe(ledger, "alert", "job")
    raise_alerts(ledger, rows_of(450))
    assert [m.parts for m in waiting(ledger, webhook)] == [100, 100, 100]
    with ledger.read() as connection:
        (counted,) = subscriptions.every(connection)
    assert counted.dropped == 150
    background = Background()
    deliverer = Deliverer(ledger, background, Settings(home=tmp_path))
    deliverer.tell_problems()
    assert "drops alerts" in str(background.problems())
    announce(ledger, "job:1")
    assert len(waiting(ledger, webhook)) == 4
    with ledger.write() as connection:
        while found := outbox.due(connection, now_ms()):
            outbox.end(connection, found[0], "delivered", 1, 200, None)
        outbox.prune(connection, 2, 2)
    raise_alerts(ledger, rows_of(1))
    assert waiting(ledger, webhook)[-1].body["dropped"] == 150
    deliverer.tell_problems()
    assert background.problems() == []


def test_no_message_holds_a_record_or_its_id_and_what_a_receiver_said_of_it_is_forgotten(
    ledger: Ledger,
) -> None:
    webhook = subscribe(ledger, "alert")
    raise_alerts(ledger, rows_of(1))
    (message,) = due(ledger, now_ms() + alerts.GATHER_MS)
    assert "person" not in str(message.body)
    assert "amount" not in str(message.body)
    taken = take(ledger, message, now_ms() + alerts.GATHER_MS)
    assert taken is not None
    with ledger.write() as connection:
        outbox.postpone(connection, taken, now_ms(), 400, "it answered 400: person is wrong")
    erasure.forget_record(ledger, "person", "ops")
    (left,) = waiting(ledger, webhook)
    assert left.problem is None


def test_what_was_delivered_keeps_no_body_and_the_newest_are_kept(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_DELIVERED", 2)
    webhook = subscribe(ledger, "job")
    for number in range(4):
        announce(ledger, f"job:{number}")
    told = due(ledger)
    with ledger.write() as connection:
        for message in told[:3]:
            outbox.end(connection, message, "delivered", now_ms(), 200, None)
        outbox.prune(connection, 0, 0)
        left = outbox.page(connection, webhook.webhook_id, None, 10, None)
    assert [message.message_id for message in left] == [message.message_id for message in told[:0:-1]]
    assert [message.body for message in left[1:]] == [{}, {}]


@pytest.mark.parametrize("hosts", ["http://alerts", "alerts/x", "*.internal", "a b"])
def test_a_listed_host_that_is_none_is_refused_at_the_start(hosts: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        Settings(webhook_hosts=hosts)


def test_an_analyst_is_forgotten_in_messages_and_links(ledger: Ledger) -> None:
    webhook = subscribe(ledger, "quarantine", analyst="ann")
    with ledger.write() as connection:
        body = {"labeller": "analyst", "name": "ann", "by": "ops"}
        outbox.announce(connection, "quarantine", "began", "quarantine:analyst ann", body)
    erasure.forget_analyst(ledger, "ann", "ops")
    (left,) = waiting(ledger, webhook)
    assert "'ann'" not in str(left)
    assert left.subject.startswith("quarantine:analyst erased-")
    with ledger.read() as connection:
        (same,) = subscriptions.every(connection)
    assert same.analyst is None


def test_a_condition_begins_with_the_first_that_sees_it_and_ends_with_the_last(ledger: Ledger) -> None:
    webhook = subscribe(ledger, "drift")
    drift = {"drift:a": Condition("drift", "drift:a", {"model": "default", "signal": "a"})}
    now = now_ms()

    def see(holder: str, seen: dict[str, Condition], at: int) -> list[str]:
        with ledger.write() as connection:
            conditions.see(connection, holder, seen, at)
        return [message.event for message in waiting(ledger, webhook)]

    assert see("one", drift, now) == ["began"]
    assert see("other", drift, now) == ["began"]
    assert see("one", {}, now) == ["began"]
    assert see("other", {}, now) == ["began", "ended"]
    assert see("one", drift, now) == ["began", "ended", "began"]
    later = now + conditions.LASTS_MS + 1
    assert see("one again", drift, later) == ["began", "ended", "began"], "it was only started anew"
    assert see("other", {}, later + conditions.LASTS_MS + 1)[-1] == "ended"


def test_an_activation_is_told_by_one_and_what_was_before_anybody_followed_by_nobody(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert activation_log.told(connection) is None
        assert activation_log.move(connection, None, 3)
        assert not activation_log.move(connection, None, 3)
        assert activation_log.told(connection) == 3
        assert activation_log.move(connection, 3, 4)
        assert not activation_log.move(connection, 3, 4)


class Refusing(Sender):
    """A sender whose receiver answers as it is told."""

    def __init__(self, *attempts: Attempt) -> None:
        super().__init__()
        self._attempts = list(attempts)

    def post(self, *_: Any) -> Attempt:
        return self._attempts.pop(0) if len(self._attempts) > 1 else self._attempts[0]


def deliver(ledger: Ledger, home: Path, retries: Retries, *attempts: Attempt) -> tuple[Message, Background]:
    """What became of one message."""
    webhook, background = subscribe(ledger, "job"), Background()
    announce(ledger, "job:1")
    deliverer = Deliverer(ledger, background, Settings(home=home), Refusing(*attempts), retries)
    deliverer._work(webhook.webhook_id)
    deliverer.tell_problems()
    with ledger.read() as connection:
        (message,) = outbox.page(connection, webhook.webhook_id, None, 10, None)
    return message, background


def test_a_refusal_is_tried_again_later(ledger: Ledger, tmp_path: Path) -> None:
    before = now_ms()
    message, _ = deliver(ledger, tmp_path, Retries(), Attempt(503, "it answered 503", 40.0))
    assert (message.state, message.attempts, message.status) == ("waiting", 1, 503)
    assert before + 40_000 <= message.due_at <= now_ms() + 40_000
    assert message.lease is None


def test_who_takes_nothing_for_a_day_is_given_up_told_and_replayed(ledger: Ledger, tmp_path: Path) -> None:
    over = Retries(give_up=0)
    message, background = deliver(ledger, tmp_path, over, Attempt(500, "it answered 500"))
    assert (message.state, message.status) == ("dead", 500)
    (problem,) = background.problems()
    assert f"POST /webhooks/{message.webhook_id}/replay" in problem
    with ledger.write() as connection:
        assert outbox.replay(connection, message.webhook_id, ["msg_other"], now_ms()) == 0
        assert outbox.replay(connection, message.webhook_id, None, now_ms()) == 1
    (again,) = due(ledger)
    assert (again.message_id, again.at, again.attempts) == (message.message_id, message.at, 0)
    Deliverer(ledger, background, Settings(home=tmp_path), Refusing(Attempt(200)))._work(again.webhook_id)
    assert due(ledger) == []


def test_a_receiver_that_is_gone_for_good_is_believed(ledger: Ledger, tmp_path: Path) -> None:
    message, _ = deliver(ledger, tmp_path, Retries(), Attempt(410, "it answered 410"))
    assert message.state == "dead"


class Counting(Sender):
    """A sender whose receiver takes all, and counts by message."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []

    def post(self, _: Any, __: Any, headers: Mapping[str, str]) -> Attempt:
        self.ids.append(headers["webhook-id"])
        return Attempt(200)


def test_several_replicas_tell_everything_once(ledger: Ledger, tmp_path: Path) -> None:
    webhook, sender = subscribe(ledger, "job"), Counting()
    for number in range(40):
        announce(ledger, f"job:{number % 8}")
    expected = [message.message_id for message in waiting(ledger, webhook)]
    replicas = [Deliverer(ledger, Background(), Settings(home=tmp_path), sender) for _ in range(3)]
    threads = [threading.Thread(target=one._work, args=(webhook.webhook_id,)) for one in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replicas[0]._work(webhook.webhook_id)  # a lane ends when others have taken all that it saw
    assert sorted(sender.ids) == sorted(expected)


def test_a_message_that_cannot_be_written_holds_up_no_other_subject(ledger: Ledger, tmp_path: Path) -> None:
    webhook, sender, background = subscribe(ledger, "job"), Counting(), Background()
    with ledger.write() as connection:
        outbox.announce(connection, "job", "queued", "job:bad", {})
    announce(ledger, "job:good")
    slack = replace(webhook, webhook_id=new_id(), format="slack")
    with ledger.write() as connection:
        subscriptions.add(connection, slack)
        for subject, body in (("job:bad", {}), ("job:good", {"model": "default", "job_id": "J1"})):
            outbox.put(connection, slack, "job", "queued", subject, body)
    Deliverer(ledger, background, Settings(home=tmp_path), sender)._work(slack.webhook_id)
    assert len(sender.ids) == 1
    (bad,) = waiting(ledger, slack)
    assert (bad.subject, bad.problem) == ("job:bad", "a mistake of ours, see the service's log: KeyError")


def figures(**more: Any) -> InForce:
    """A policy in force whose budget is kept, but for `more`."""
    solved = Solved(
        budget=parse("1% of normal"),
        share=0.01,
        threshold=None,
        held_from=None,
        exceeded=False,
        forecast=Forecast(mean=40.0, low=30.0, high=50.0, rows=4_000.0),
        rows_a_day=4_000.0,
        raised=Raised(1, 75, 300, 300, 0, 0, 0),
        reviewed=0,
        reviewable=0,
        known_normal=False,
    )
    version = PolicyVersion(1, "1% of normal", False, 30.0, True, None, 0, "ops", "line")
    return InForce(version, "v1", "line", 0.5, 100, replace(solved, **more), 0.0)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({}, None),
        ({"raised": Raised(1, 76, 300, 300, 0, 0, 0)}, "76 alerts were raised in a day"),
        ({"raised": Raised(1, 76, 300, 300, 0, 0, 0), "forecast": None}, None),
        ({"exceeded": True}, "more alerts are raised than it allows"),
        ({"doubts": ["no score is expected to alert"]}, "no score is expected to alert"),
        ({"problem": "the budget cannot be solved"}, "cannot be solved"),
    ],
)
def test_a_budget_parts_where_what_is_raised_is_not_what_was_promised(
    more: dict[str, Any], why: str | None
) -> None:
    found = parted(figures(**more))
    assert found == [] if why is None else why in found[0]
