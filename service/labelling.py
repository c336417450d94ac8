"""Analysts' labels, whichever door they come by: stored, and in force at once in this process."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from nearnorm.service.feedback.opinions import opinions
from nearnorm.service.feedback.submission import submit
from nearnorm.service.feedback.submission.request import Submission
from nearnorm.service.feedback.submission.second_opinion import Judge, Opinion
from nearnorm.service.feedback.submission.submit import Accepted
from nearnorm.service.ledger.label_history import Label
from nearnorm.service.logs import log
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.services import Services
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry


async def stored(services: Services, registry: Registry, sent: Submission) -> dict[str, Any]:
    """Store labels; the answer to them.

    Raises InvalidRequest with one error an item, Conflict, TooManyLabels, LedgerUnavailable; UnknownModel,
    NoModel, DeadlineExceeded.
    """
    model = await registry.bring(sent.model, sent.lines)
    encoder, judge = reading(model)
    sent = within(registry, sent)

    def store(connection: sa.Connection) -> Accepted:
        return submit.submit(connection, sent, services.log, encoder, judge, services.settings, services.rule)

    accepted = await services.ledger.written(store)
    if accepted.burst:
        log.warning(
            "many labels contradict the model", key=sent.actor, model=sent.model, records=accepted.burst
        )
    services.follower.learn(registry.loaded().get(sent.model, model), accepted.standings)
    return accepted.answer


def within(registry: Registry, sent: Submission) -> Submission:
    """Labels that name reference rows name those of the line's own versions."""
    return replace(sent, versions=registry.versions_of(sent.model))


def reading(model: LoadedModel) -> tuple[Callable[[str], Encoder], Judge]:
    """How records are read, and what the serving model says of labels."""

    def judge(said: Sequence[Label]) -> dict[str, Opinion]:
        return opinions(model, said)

    return lambda _: model.encoder, judge
