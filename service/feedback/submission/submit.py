"""Analysts' statements: checked as a whole, and stored as a whole or not at all."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from nearnorm.service.errors import Conflict, InvalidRequest, TooManyLabels
from nearnorm.service.events.log import EventLog
from nearnorm.service.feedback.submission import receipts
from nearnorm.service.feedback.submission.check import Checks
from nearnorm.service.feedback.submission.group_verdict import retractions
from nearnorm.service.feedback.submission.request import Submission
from nearnorm.service.feedback.submission.resolve import Bound, Mistake, Resolver
from nearnorm.service.feedback.submission.second_opinion import Judge, weigh
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import idempotency
from nearnorm.service.ledger.tables.feedback import claims, labels
from nearnorm.service.ledger.tables.feedback.labels import Histories, Standing
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.unknown_fields import MOST_WARNED
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import Settings

_HOUR_MS = 3600 * 1000


class Accepted(Struct, frozen=True):
    """`waiting` are the digests of labels that wait for a second opinion; `burst` is how many records of
    the key wait, where those are many as of now."""

    answer: dict[str, Any]
    standings: list[Standing]
    waiting: frozenset[str] = frozenset()
    burst: int = 0


class Statements(Struct, frozen=True):
    """What a request says, and what was said about its records before."""

    bound: list[Bound]
    before: Histories


def submit(
    connection: sa.Connection,
    sent: Submission,
    log: EventLog,
    encoder: Callable[[str], Encoder],
    judge: Judge,
    settings: Settings,
    rule: Rule,
) -> Accepted:
    """Store every item, or none.

    Raises InvalidRequest with one error an item, Conflict for its key, TooManyLabels for its analysts.
    """
    change = tick(connection, "labels")
    if sent.key is not None and (answered := idempotency.find(connection, sent.actor, sent.key)):
        if answered.body != sent.body_digest:
            raise Conflict(
                "this Idempotency-Key was used with another body: take a new key for a new request",
                field="Idempotency-Key",
            )
        return Accepted(answered.answer, [])
    statements = bind(connection, sent, log, encoder)
    accepted = store(connection, change, sent, statements, judge, settings, rule)
    if sent.key is not None:
        idempotency.remember(connection, sent.actor, sent.key, sent.body_digest, accepted.answer, now_ms())
    return accepted


def bind(
    connection: sa.Connection, sent: Submission, log: EventLog, encoder: Callable[[str], Encoder]
) -> Statements:
    """What each item speaks of. Raises InvalidRequest with one error an item."""
    if sent.retract_group is not None:
        sent = replace(sent, items=retractions(connection, sent.retract_group, sent.retracted_by, sent.lines))
    return _bind(sent, Resolver(connection, sent, log, encoder(sent.model)), connection)


def store(
    connection: sa.Connection,
    change: int,
    sent: Submission,
    statements: Statements,
    judge: Judge,
    settings: Settings,
    rule: Rule,
) -> Accepted:
    """Write statements under a number of the clock, and all that follows from them. Raises TooManyLabels."""
    bound = statements.bound
    said = [one.label for one in bound]
    _check_rates(connection, said, settings.analyst_labels_per_hour)
    histories = labels.append(connection, change, said, statements.before)
    claims.end(connection, sent.model, sorted({statement.digest for statement in said}))
    burst = weigh(connection, change, bound, settings.second_opinion_below, judge, sent.operates)
    waiting = receipts.waits(connection, sent.model, said)
    answer = {
        "receipts": msgspec.to_builtins(
            [receipts.taken(one, histories[one.label.digest], one.label.digest in waiting) for one in bound]
        ),
        "retraining": requests.labelled(connection, sent.model, rule, sent.actor),
    }
    if sent.group_id is not None:
        answer["group"] = sent.group_id
    if warnings := _warnings(bound):
        answer["warnings"] = warnings
    audit.note(connection, sent.actor, "label", sent.model, feedback_ids=[one.feedback_id for one in said])
    standings = labels.changed_since(connection, sent.model, change - 1)
    return Accepted(answer, standings, frozenset(waiting), burst)


def _check_rates(connection: sa.Connection, statements: list[Label], most_an_hour: int) -> None:
    """An analyst is counted for each API key apart: nobody can use up another's rate in their name."""
    now = now_ms()
    for (analyst, actor), new in Counter((s.analyst, s.actor) for s in statements).items():
        recent, oldest = labels.rate(connection, analyst, actor, now - _HOUR_MS, now)
        if recent + new > most_an_hour:
            wait = 1 + (oldest + _HOUR_MS - now) // 1000 if recent else 3600
            raise TooManyLabels(
                f"analyst {analyst!r} may send {most_an_hour} labels an hour "
                f"(NEARNORM_ANALYST_LABELS_PER_HOUR), and {recent} are in: send the {new} later",
                field="analyst",
                headers={"Retry-After": str(wait)},
            )


def _warnings(bound: list[Bound]) -> list[str]:
    """Those of all records, each once."""
    found = dict.fromkeys(warning for one in bound if one.read for warning in one.read.remarks)
    return list(found)[:MOST_WARNED]


def _bind(sent: Submission, resolver: Resolver, connection: sa.Connection) -> Statements:
    bound: dict[int, Bound] = {}
    mistakes: dict[int, Mistake] = {}
    for index, raw in enumerate(sent.items):
        try:
            bound[index] = resolver.bind(raw)
        except Mistake as mistake:
            mistakes[index] = mistake
    before = labels.about(connection, sent.model, {one.label.digest for one in bound.values()})
    checks = Checks(before)
    for index, one in bound.items():
        try:
            checks.check(index, one.label)
        except Mistake as mistake:
            mistakes[index] = mistake
    if mistakes:
        raise InvalidRequest(
            f"{len(mistakes)} of {len(sent.items)} labels do not fit, so none was stored",
            errors=[mistakes[index].at(index) for index in sorted(mistakes)],
        )
    return Statements(list(bound.values()), before)
