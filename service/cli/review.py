"""`nearnorm review`: the highest rows of the champion's reference, judged on the terminal."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from nearnorm.models.errors import ConfigError
from nearnorm.service.access.keyring import ROLES, Caller
from nearnorm.service.cli.keys import in_ledger, user, written
from nearnorm.service.errors import ServiceError
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.events.events import Event
from nearnorm.service.ledger.tables.events.retention import Amount
from nearnorm.service.ledger.tables.feedback import reference_rows
from nearnorm.service.settings import Settings, load_settings

VERDICTS = {"a": "anomaly", "n": "normal"}


def review(
    model: Annotated[str, typer.Option(help="Whose champion's reference.")] = "default",
    rows: Annotated[int | None, typer.Option(help="How many; default NEARNORM_REFERENCE_REVIEWS.")] = None,
) -> None:
    """Judge the strangest rows of the champion's reference; an anomaly leaves it at once."""
    settings = load_settings()
    wanted = settings.reference_reviews if rows is None else rows
    judged = in_ledger(lambda ledger: _judge(ledger, settings, model, wanted))
    typer.echo(f"{judged} rows judged: running services follow within 5 seconds")


def _judge(ledger: Ledger, settings: Settings, model: str, wanted: int) -> int:
    champion = settings.open_store().champion(model)
    if champion is None:
        raise ConfigError(f"model {model!r} has no champion: activate a version first")
    with ledger.read() as connection:
        found = reference_rows.unjudged(connection, model, champion.version, wanted, None)
    if not found:
        raise ConfigError(
            "no row of the champion's reference waits for review: all are judged, or it was imported by a "
            "release that did not keep them"
        )
    judged = 0
    for number, (_, event) in enumerate(found, 1):
        answer = _ask(event, f"{number} of {len(found)}")
        if answer == "q":
            break
        if answer in VERDICTS:
            _store(ledger, settings, model, event, VERDICTS[answer])
            judged += 1
    return judged


def _ask(event: Event, place: str) -> str:
    typer.echo(f"\n{place}: score {event.score:.4f}")
    for name, value in event.record.items():
        typer.echo(f"  {name}: {'(missing)' if value is None else repr(value)}")
    answer: str = typer.prompt("[a]nomaly, [n]ormal, [s]kip, [q]uit", default="s")
    return answer.strip().lower()[:1]


def _store(ledger: Ledger, settings: Settings, model: str, event: Event, label: str) -> None:
    """As POST /feedback does. Raises ConfigError for what that would refuse."""
    from nearnorm.service.events.log import EventLog  # numpy, which no other command of the ledger needs
    from nearnorm.service.feedback.submission import submit
    from nearnorm.service.feedback.submission.request import read
    from nearnorm.service.feedback.submission.second_opinion import Opinion
    from nearnorm.service.ledger.label_history import Label
    from nearnorm.service.records.encoder import Encoder
    from nearnorm.service.retraining.jobs.requests import Rule

    body = {"model": model, "labels": [{"event_id": event.event_id, "label": label}]}
    sent = read(msgspec.json.encode(body), Caller(user(), frozenset(ROLES)), None)
    log = EventLog(ledger, 0.0, Amount(), settings.event_days)  # nothing waits in it

    def encoder(_: str) -> Encoder:
        core = settings.open_store().open(event.model_version).manifest.core
        return Encoder(core.features, settings.max_rows)

    def no_doubt(_: Sequence[Label]) -> dict[str, Opinion]:
        return {}  # whoever may run this may operate

    rule = Rule.of(settings)
    try:
        written(ledger, lambda c: submit.submit(c, sent, log, encoder, no_doubt, settings, rule))
    except ServiceError as error:
        raise ConfigError(error.detail) from None
