"""Commands for the day on which a machine is lost: a backup of ledger and store, and back from it."""

from typing import Annotated

import typer

from nearnorm.models.errors import NearnormError
from nearnorm.service.backup.contents import Contents, refuse_taken
from nearnorm.service.backup.place import place_at
from nearnorm.service.backup.restore import restore as bring_back
from nearnorm.service.backup.take import patiently, take
from nearnorm.service.cli.keys import user
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import load_settings


def backup(
    place: Annotated[str, typer.Argument(help="A new or empty folder, or s3://bucket/prefix.")],
) -> None:
    """Copy ledger and model store to a place, beside a running service. PostgreSQL's ledger needs pg_dump."""
    settings = load_settings()
    at = place_at(place)
    refuse_taken(at)
    ledger = Ledger.at(settings.database_url, settings.home)
    try:
        patiently(lambda: migrate(ledger))
        made = take(settings, ledger, at, user())
    except (LedgerUnavailable, OSError) as error:
        raise NearnormError(str(error)) from None
    finally:
        ledger.close()
    size = sum(file.bytes for file in made.files)
    typer.echo(f"{place}: ledger and {len(made.versions)} versions of {made.begun}, {size / 1e6:,.1f} MB")
    _tell_elsewhere(made)
    if made.damaged:
        first = next(iter(made.damaged.values()))
        raise NearnormError(
            f"the backup is whole but for {len(made.damaged)} versions that the store has damaged "
            f"({', '.join(made.damaged)}): {first}"
        )


def restore(
    place: Annotated[str, typer.Argument(help="Where `nearnorm backup` put it.")],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Though there is a ledger or a store: both are moved aside, PostgreSQL's tables dropped.",
        ),
    ] = False,
) -> None:
    """Bring ledger and model store back from a backup, into an empty home. Stop services first."""
    settings = load_settings()
    try:
        found = bring_back(settings, place_at(place), replace, user())
    except (LedgerUnavailable, OSError) as error:
        raise NearnormError(str(error)) from None
    typer.echo(f"ledger and {len(found.versions)} versions are as they were on {found.begun}")
    for model, version in sorted(found.champions.items()):
        typer.echo(f"{model} is {version}")
    _tell_elsewhere(found)


def _tell_elsewhere(found: Contents) -> None:
    for what in found.left_out:
        typer.echo(f"not in the backup: {what}", err=True)
