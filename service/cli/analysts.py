"""Commands for those who oversee analysts. Running services follow within 5 seconds."""

from collections.abc import Callable
from typing import Annotated

import sqlalchemy as sa
import typer

from nearnorm.models.errors import ConfigError
from nearnorm.service.cli.keys import in_ledger, user, written
from nearnorm.service.errors import Conflict, InvalidRequest, NotFound
from nearnorm.service.feedback import analysts
from nearnorm.service.feedback.analysts import QuarantineEffect
from nearnorm.service.ids import iso
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables.feedback import quarantine
from nearnorm.service.ledger.tables.feedback.analysts import tallies
from nearnorm.service.ledger.tables.feedback.quarantine import LabellerKind, Quarantine
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import load_settings

analysts_cli = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Analysts: how far they agree; quarantine."
)

MOST = 1_000

Model = Annotated[str | None, typer.Option(help="The only model that it holds in; else every one.")]

Name = Annotated[str, typer.Argument(help="An analyst's name; with --key, that of an API key.")]
OfKey = Annotated[bool, typer.Option("--key", help="All that the API key of this name brought.")]


@analysts_cli.command("list")
def list_analysts() -> None:
    """Who labelled, the most contradicted first, and who is in quarantine."""
    found, in_force = in_ledger(lambda ledger: written(ledger, lambda c: (tallies(c, MOST, 0), _in_force(c))))
    for t in found:
        doubted = f"; {t.confirmed} of {t.doubted} second opinions confirmed" if t.doubted else ""
        share = f"{t.contradicted / t.compared:.0%}" if t.compared else "-"
        typer.echo(
            f"{t.analyst}: {t.labels} labels by {', '.join(t.keys)}; "
            f"{t.compared} of {t.records} records judged by others too, {share} contradicted{doubted}"
        )
    for q in in_force:
        where = "" if q.model is None else f" for model {q.model}"
        typer.echo(f"in quarantine{where}: {q.kind} {q.name} since {iso(q.at)} by {q.actor}: {q.why}")


def _in_force(connection: sa.Connection) -> list[Quarantine]:
    return quarantine.every(connection) + quarantine.of_lines(connection, EVERY_LINE)


@analysts_cli.command("quarantine")
def put_in_quarantine(
    name: Name,
    why: Annotated[str, typer.Option(help="The reason, for the audit trail.")],
    key: OfKey = False,
    model: Model = None,
) -> None:
    """Let nothing that somebody said count any more: not in scores, and not in the next model."""
    rule = Rule.of(load_settings())
    changed = _changed(lambda c: analysts.put(c, _kind(key), name, why, user(), rule, model))
    typer.echo(f"{changed.kind} {changed.name} is in quarantine: {changed.records} records")
    if changed.job_id:
        typer.echo(f"the training under way is cancelled; job {changed.job_id} does it again without")


@analysts_cli.command("release")
def release(
    name: Name,
    why: Annotated[str, typer.Option(help="The reason, for the audit trail.")] = "",
    key: OfKey = False,
    model: Model = None,
) -> None:
    """Let what somebody said count again, where quarantine held: in every model, or in one alone."""
    changed = _changed(lambda c: analysts.release(c, _kind(key), name, why, user(), model))
    typer.echo(f"{changed.kind} {changed.name} is released: {changed.records} records")


def _kind(key: bool) -> LabellerKind:
    return "key" if key else "analyst"


def _changed(work: Callable[[sa.Connection], QuarantineEffect]) -> QuarantineEffect:
    try:
        return in_ledger(lambda ledger: written(ledger, work))
    except (NotFound, Conflict, InvalidRequest) as error:
        raise ConfigError(error.detail) from None
