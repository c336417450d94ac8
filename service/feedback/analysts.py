"""Analysts as a whole: how far they agree, and quarantine for one whose labels shall not count."""

import sqlalchemy as sa
from msgspec import Struct

from nearnorm.service.access.analyst_name import spellings
from nearnorm.service.errors import Conflict, InvalidRequest, NotFound
from nearnorm.service.ids import iso, now_ms
from nearnorm.service.ledger.clock import tick
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import jobs
from nearnorm.service.ledger.tables.feedback import labels, quarantine
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind, Quarantine
from nearnorm.service.ledger.tables.webhooks import outbox
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule

LONGEST_WHY = 1_000


class QuarantineEffect(Struct, frozen=True):
    """`records`: those that somebody had judged. `job_id`: a training that had read it is done again."""

    kind: LabellerKind
    name: str
    records: int
    job_id: str | None = None


def put(
    connection: sa.Connection,
    kind: LabellerKind,
    name: str,
    why: str,
    actor: str,
    rule: Rule,
    model: str | None = None,
) -> QuarantineEffect:
    """Nothing that `name` said of a model, or (None) of any, counts any more, until `release`.

    A training under way has read it: it is cancelled, and done again without.
    Raises InvalidRequest for no reason, NotFound for somebody who never labelled, Conflict for twice.
    """
    why = _reason(why)
    if not why:
        raise InvalidRequest("why: give a reason", field="why")
    change = tick(connection, "labels")
    name = labeller(connection, kind, name)
    found = quarantine.find(connection, kind, name, model)
    if found:
        raise Conflict(f"{kind} {name!r} is in quarantine since {iso(found.at)}: {found.why}")
    records = labels.records_of(connection, kind, name, model)
    if not records:
        where = "" if model is None else f" for model {model!r}"
        raise NotFound(f"no label was ever {_spoken(kind)} {name!r}{where}: see GET /analysts", field="name")
    quarantine.add(connection, Quarantine(kind, name, now_ms(), actor, why, model))
    count = _sum_up(connection, change, records)
    again = [_begin_again(connection, of, rule, actor) for of in records]
    job_id = next((job_id for job_id in again if job_id), None)
    told = _model(model) | ({"job_id": job_id} if job_id else {})
    audit.note(connection, actor, audit.QUARANTINE[0], f"{kind} {name}", why=why, records=count, **told)
    _announce(connection, "began", kind, name, actor, model)
    return QuarantineEffect(kind, name, count, job_id)


def release(
    connection: sa.Connection,
    kind: LabellerKind,
    name: str,
    why: str,
    actor: str,
    model: str | None = None,
) -> QuarantineEffect:
    """All that `name` said of a model, or (None) of any, counts again, in its old order.

    What was put into quarantine for one model is released there, and what was for all is for all.
    Raises NotFound for somebody who is not in quarantine there.
    """
    why = _reason(why)
    change = tick(connection, "labels")
    name = labeller(connection, kind, name)
    if not quarantine.remove(connection, kind, name, model):
        where = "in every model" if model is None else f"for model {model!r} alone"
        raise NotFound(f"no {kind} {name!r} is in quarantine {where}: see GET /analysts", field="name")
    count = _sum_up(connection, change, labels.records_of(connection, kind, name, model))
    told = _model(model)
    audit.note(connection, actor, audit.QUARANTINE[1], f"{kind} {name}", why=why, records=count, **told)
    _announce(connection, "ended", kind, name, actor, model)
    return QuarantineEffect(kind, name, count)


def labeller(connection: sa.Connection, kind: LabellerKind, name: str) -> str:
    """The name as labels carry it."""
    known = (n for n in spellings(name) if labels.records_of(connection, kind, n))
    return name if kind == "key" else next(known, name)


def _model(model: str | None) -> dict[str, str]:
    return {} if model is None else {"model": model}


def _announce(
    connection: sa.Connection, event: str, kind: LabellerKind, name: str, actor: str, model: str | None
) -> None:
    body = {"labeller": kind, "name": name, "by": actor, **_model(model)}
    outbox.announce(connection, "quarantine", event, f"quarantine:{kind} {name}", body)


def _sum_up(connection: sa.Connection, change: int, records: dict[str, set[str]]) -> int:
    for model, digests in records.items():
        labels.sum_up(connection, change, model, digests)
    return sum(len(digests - {labels.ERASED}) for digests in records.values())


def _begin_again(connection: sa.Connection, model: str, rule: Rule, actor: str) -> str | None:
    running = jobs.running(connection, model)
    if running is None:
        return None
    requests.cancel(connection, running.job_id, actor, EVERY_LINE)
    return requests.request(connection, model, rule, actor).job_id


def _reason(why: str) -> str:
    if len(why) > LONGEST_WHY or "\0" in why:
        raise InvalidRequest(f"why: give at most {LONGEST_WHY:,} characters, none of them NUL", field="why")
    return why.strip()


def _spoken(kind: LabellerKind) -> str:
    return "sent by analyst" if kind == "analyst" else "brought by key"
