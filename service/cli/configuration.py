"""`nearnorm apply` and `nearnorm export-config`: what can be changed while services run, as a file in git."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nearnorm.models.errors import ConfigError
from nearnorm.service.cli.keys import in_ledger, user
from nearnorm.service.configuration.apply import Applied, apply
from nearnorm.service.configuration.champions import read_champions
from nearnorm.service.configuration.export import export
from nearnorm.service.configuration.file import read
from nearnorm.service.errors import ServiceError
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import load_settings

DECLINED = 1
DIFFERS = 3
"""Exit code of --dry-run where something differs: 2 is a mistake's."""


def apply_file(
    file: Annotated[Path, typer.Option("--file", "-f", help="The file.")] = Path("nearnorm.toml"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show it alone. Exit code 0: nothing differs; 3: something.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Bring policies, quotas, priorities and quarantine to what a file says, once that was shown."""
    wanted = read(file)
    settings = load_settings()
    champions = read_champions(settings.open_store())
    change = partial(apply, wanted=wanted, champions=champions, rule=Rule.of(settings), actor=user())

    def work(ledger: Ledger) -> None:
        with ledger.attempt() as connection:
            shown = change(connection)
        _show(shown)
        if not shown.differences:
            return
        if dry_run:
            raise typer.Exit(DIFFERS)
        if not yes:
            _ask(len(shown.differences))
        with ledger.write() as connection:
            if change(connection).differences != shown.differences:
                raise ConfigError(
                    f"{file}: what is in force changed meanwhile: look again, nothing was changed"
                )
        typer.echo("done: running services follow within 5 seconds")

    try:
        in_ledger(work)
    except ServiceError as error:
        raise ConfigError(f"{file}: {error.detail}") from None


def export_config() -> None:
    """Print what is in force, as the file that `nearnorm apply` reads. It holds no secret."""
    champions = read_champions(load_settings().open_store())

    def work(ledger: Ledger) -> str:
        with ledger.read() as connection:
            return export(connection, champions)

    sys.stdout.write(in_ledger(work))


def _show(applied: Applied) -> None:
    if not applied.differences:
        typer.echo("nothing differs")
        return
    rows = [("what", "now", "then"), *((d.what, d.now, d.then) for d in applied.differences)]
    for line in _aligned(rows):
        typer.echo(line)
    for effect in applied.effects:
        typer.echo(f"- {effect}")


def _aligned(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{what:<{first}}  {now:<{second}}  {then}" for what, now, then in rows]


def _ask(changes: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here: give --yes to change it, or --dry-run to look")
    if not typer.confirm(f"make {changes} changes?" if changes > 1 else "make this change?"):
        typer.echo("nothing was changed")
        raise typer.Exit(DECLINED)
