"""`nearnorm aggregate`: what a stream would have counted, over history."""

import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearnorm.models.data.files.options import Decimal, Encoding, Quote, Separator, file_format
from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.service import counting
from nearnorm.service.cli.keys import in_ledger
from nearnorm.service.cli.lines import warn, warn_if_unserved
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.tables.lines import problem_of_name
from nearnorm.service.settings import load_settings

if TYPE_CHECKING:
    from nearnorm.models.aggregates.declaration import Aggregates


def aggregate(
    data: Annotated[str, typer.Argument(help="CSV or Parquet: a file, folder, quoted glob or s3:// URL.")],
    schema: Annotated[Path, typer.Option(help="A TOML file with the table \\[aggregates].")],
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file for the rows with their numbers.")],
    into: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Keep in the ledger what is kept of DATA, so that this model's stream goes on from there.",
        ),
    ] = None,
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
) -> None:
    """Write DATA with the numbers that \\[aggregates] declares, as they were when each record came."""
    from nearnorm.models.aggregates.declaration import SECOND
    from nearnorm.service.batch.aggregate_file import aggregate_file

    if into is not None and (problem := problem_of_name(into)):
        raise ConfigError(f"--into: {problem}")
    aggregates = _declared(schema)
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    now = int(time.time() * SECOND)

    def aggregated_into(ledger: Ledger) -> int:
        with counting.taking_over(ledger, str(into), aggregates) as ended:
            return aggregate_file(data, aggregates, out, now, files, warn, ended)

    if into is None:
        rows = aggregate_file(data, aggregates, out, now, files, warn)
    else:
        rows = in_ledger(aggregated_into)
    typer.echo(f"{out}: {rows:,} rows, with {', '.join(aggregates.features)}")
    if into is not None:
        warn_if_unserved(into)
        _warn_if_counted_otherwise(into, aggregates)


def _warn_if_counted_otherwise(model: str, aggregates: "Aggregates") -> None:
    """What was kept is read by what the version that serves declares."""
    try:
        store = load_settings().open_store()
        champion = store.champion(model)
        counts = store.open(champion.version).manifest.core.aggregates if champion else aggregates
    except NearnormError:  # what was asked for is done, whether or not the version is in reach
        return
    if counts is None:
        warn(
            f"the version that serves {model!r} counts nothing over windows: train one with these aggregates"
        )
    elif counts != aggregates:
        warn(f"the version that serves {model!r} declares other counts than these, and goes by its own")


def _declared(schema: Path) -> "Aggregates":
    from nearnorm.models.aggregates.declaration import declared

    try:
        found = declared(tomllib.loads(schema.read_text(encoding="utf-8")), schema)
    except OSError as error:
        raise ConfigError(f"{schema} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{schema} is not TOML: {error}") from None
    if found is None:
        raise ConfigError(f"{schema} has no table [aggregates]: see docs/aggregates.md")
    return found
