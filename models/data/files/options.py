"""The command line's options for CSV files, the same for every command that reads data."""

from typing import Annotated

import typer

from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.errors import ConfigError

_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}

Separator = Annotated[
    str | None, typer.Option("--csv-separator", help="Between fields: one character, or tab; else found.")
]
Encoding = Annotated[
    str | None, typer.Option("--csv-encoding", help="utf-8, utf-16, cp1252, latin-1, ...; else found.")
]
Decimal = Annotated[
    str | None, typer.Option("--csv-decimal", help="The decimal sign, a point or a comma; else found.")
]
Quote = Annotated[str | None, typer.Option("--csv-quote", help="Around fields: one character; else found.")]


def file_format(
    separator: str | None, encoding: str | None, decimal: str | None, quote: str | None
) -> FileFormat:
    """Raises ConfigError for what cannot be one of them."""
    separator = _WORDS.get(separator, separator) if separator else separator
    for option, value in (("--csv-separator", separator), ("--csv-quote", quote)):
        if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n"):
            raise ConfigError(f"{option} {value!r}: give one ASCII character")
    if decimal not in (None, ".", ","):
        raise ConfigError(f"--csv-decimal {decimal!r}: give a point or a comma")
    if separator is not None and separator in (quote, decimal):
        raise ConfigError(f"--csv-separator {separator!r} cannot be the quote or the decimal sign too")
    return FileFormat(separator=separator, encoding=encoding, decimal=decimal, quote=quote)
