"""Commands that work on the ledger: keys, and erasure. Running services follow within 5 seconds."""

import getpass
from collections.abc import Callable
from typing import Annotated, TypeVar

import sqlalchemy as sa
import typer

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service.access import erasure, keyring
from nearnorm.service.errors import LedgerUnavailable
from nearnorm.service.ids import iso
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.ledger.quota import MOST, Quota
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables import keys
from nearnorm.service.ledger.tables.keys import Key
from nearnorm.service.settings import load_settings

keys_cli = typer.Typer(
    add_completion=False, no_args_is_help=True, help="API keys: create, list, limit, revoke."
)

T = TypeVar("T")

Limit = Annotated[int | None, typer.Option(min=1, max=MOST)]


@keys_cli.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who will use it; the audit trail names them so.")],
    role: Annotated[list[str], typer.Option(help="score, feedback or operate; may be given again.")],
    model: Annotated[
        list[str],
        typer.Option(help="The only models that it sees, by name or as payments-*; may be given again."),
    ] = [],  # noqa: B006 - typer makes a new one each time
    rows_per_second: Limit = None,
    requests_per_second: Limit = None,
    rows_per_request: Limit = None,
    bytes_per_request: Limit = None,
) -> None:
    """Make a key. Its secret is printed last, now and never again. No limit given: the settings' holds."""
    quota = Quota(rows_per_second, requests_per_second, rows_per_request, bytes_per_request)
    lines = SeenLines.of(model) if model else EVERY_LINE
    secret, key = in_ledger(
        lambda ledger: written(ledger, lambda c: keyring.create(c, name, role, user(), quota, lines))
    )
    typer.echo(_line(key), err=True)
    typer.echo(secret)


@keys_cli.command("list")
def list_keys() -> None:
    """All keys ever made, oldest first."""
    for key in in_ledger(lambda ledger: written(ledger, keys.every)):
        state = f"revoked {iso(key.revoked_at)}" if key.revoked_at else "active"
        typer.echo(f"{_line(key)} {iso(key.at)} {state}")


@keys_cli.command("limit")
def limit_key(
    name: Annotated[str, typer.Argument(help="A key's name or id.")],
    rows_per_second: Limit = None,
    requests_per_second: Limit = None,
    rows_per_request: Limit = None,
    bytes_per_request: Limit = None,
) -> None:
    """Set what a key may ask for; what is not given is limited by the settings alone."""
    quota = Quota(rows_per_second, requests_per_second, rows_per_request, bytes_per_request)
    key = in_ledger(lambda ledger: written(ledger, lambda c: keyring.limit(c, name, quota, user())))
    typer.echo(_line(key))


def _line(key: Key) -> str:
    limits = [f"{name.replace('_', '-')}={value}" for name, value in key.quota.limits().items()]
    bound = [] if key.lines.patterns is None else [f"models={key.lines.cell}"]
    return " ".join([key.key_id, key.name, ",".join(sorted(key.roles)), *bound, *limits])


@keys_cli.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="A key's name or id.")]) -> None:
    """Let a key in no more."""
    key = in_ledger(lambda ledger: written(ledger, lambda c: keyring.revoke(c, name, user())))
    typer.echo(f"{key.key_id} {key.name} is revoked")


def migrate_ledger() -> None:
    """Bring the ledger to this release's tables, as every start does: once, before many start at once."""
    in_ledger(lambda _: None)


def forget(
    record_id: Annotated[str | None, typer.Option(help="The caller's id of a record.")] = None,
    event_id: Annotated[str | None, typer.Option(help="A reference row's, as the queue has it.")] = None,
    analyst: Annotated[str | None, typer.Option(help="An analyst's name.")] = None,
) -> None:
    """Erase a record's features from events and labels, or an analyst's name and comments. For good."""
    if [record_id, event_id, analyst].count(None) != 2:
        raise ConfigError("give one of --record-id, --event-id and --analyst")

    def erase(ledger: Ledger) -> erasure.Erased:
        if record_id is not None:
            return erasure.forget_record(ledger, record_id, user())
        if event_id is not None:
            return erasure.forget_reference_row(ledger, event_id, user())
        return erasure.forget_analyst(ledger, str(analyst), user())

    erased = in_ledger(erase)
    counted = f"; counts of {erased.counted} keys" if erased.counted else ""
    typer.echo(f"{erased.events} events and {erased.labels} labels{counted}")


def in_ledger(work: Callable[[Ledger], T]) -> T:
    """`work` on the ledger of the settings, brought up to date. Raises NearnormError."""
    settings = load_settings()
    ledger = Ledger.at(settings.database_url, settings.home)
    try:
        migrate(ledger)
        return work(ledger)
    except (LedgerUnavailable, OSError) as error:
        raise NearnormError(str(error)) from None
    finally:
        ledger.close()


def written(ledger: Ledger, work: Callable[[sa.Connection], T]) -> T:
    with ledger.write() as connection:
        return work(connection)


def user() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "cli"
