"""`nearnorm aggregate`: what a stream would have counted, over history."""

import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearnorm.models.data.files.options import Decimal, Encoding, Quote, Separator, file_format
from nearnorm.models.errors import ConfigError

if TYPE_CHECKING:
    from nearnorm.models.aggregates.declaration import Aggregates


def aggregate(
    data: Annotated[str, typer.Argument(help="CSV or Parquet: a file, folder, quoted glob or s3:// URL.")],
    schema: Annotated[Path, typer.Option(help="A TOML file with the table \\[aggregates].")],
    out: Annotated[Path, typer.Option(help="A .csv or .parquet file for the rows with their numbers.")],
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
) -> None:
    """Write DATA with the numbers that \\[aggregates] declares, as they were when each record came."""
    from nearnorm.models.aggregates.declaration import SECOND
    from nearnorm.service.batch.aggregate_file import aggregate_file

    aggregates = _declared(schema)
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    rows = aggregate_file(data, aggregates, out, int(time.time() * SECOND), files, _warn)
    typer.echo(f"{out}: {rows:,} rows, with {', '.join(aggregates.features)}")


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


def _warn(sentence: str) -> None:
    typer.secho(f"warning: {sentence}", fg="yellow", err=True)
