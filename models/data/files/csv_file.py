"""A CSV file -> a table: packed or not, in its encoding and dialect, with line breaks within quotes."""

import codecs
import re
from collections.abc import Callable, Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from nearnorm.models.data.files.dialect import Dialect, find_dialect
from nearnorm.models.data.files.find import DataFile
from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.plain import plain
from nearnorm.models.data.files.spelled_numbers import SIGNS, is_spelled_number, read_spelled_numbers
from nearnorm.models.errors import ConfigError, DataError

SAMPLE_BYTES = 1 << 18
BLOCK_BYTES = 1 << 24
"""A row has to fit into one."""
LEADING_ZERO = r"^\s*0[0-9xX]"  # 007, and 0x10, which Arrow would read as 16
LONG = r"^\s*\d{16,}\s*$"
"""More digits than float64 keeps."""
EXACT = 2**53
OTHERWISE = "cp1252"
"""What is no UTF-8 mostly is this: Windows' and, but for signs nobody uses, latin-1."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_WORKBOOK = b"PK\x03\x04"
_MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*(\{\s*\"|\[\s*[\[{]|<(\?xml|!doctype|html))", re.IGNORECASE)
_MENDS = "give --csv-separator, --csv-encoding or --csv-quote where the file is written in another way"

Warn = Callable[[str], object]


def read_csv(file: DataFile, as_text: Collection[str], given: FileFormat, warn: Warn) -> pa.Table:
    """Columns named in `as_text` are text, whatever they look like. Raises DataError, ConfigError."""
    head = _head(file)
    encoding = _given_encoding(given) or next((name for mark, name in _MARKS if head.startswith(mark)), None)
    try:
        return _read(file, head, encoding or "utf-8", as_text, given, warn)
    except UnicodeDecodeError:
        if encoding is not None:
            raise DataError(
                f"{file.name} is not written in {encoding}: give --csv-encoding (utf-8, utf-16, cp1252, ...)"
            ) from None
    try:
        return _read(file, head, OTHERWISE, as_text, given, warn)
    except UnicodeDecodeError:
        raise DataError(
            f"{file.name} is neither UTF-8 nor {OTHERWISE} text: give --csv-encoding, or save it as UTF-8"
        ) from None


def _given_encoding(given: FileFormat) -> str | None:
    if given.encoding is None:
        return None
    try:
        name = codecs.lookup(given.encoding).name
        "".encode(name)
    except LookupError:
        raise ConfigError(
            f"--csv-encoding {given.encoding} is no encoding: utf-8, utf-16, cp1252, latin-1, ..."
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def _open(file: DataFile) -> pa.NativeFile:
    opened = file.open()
    start = opened.read(4)
    opened.seek(0)
    packed = next((codec for magic, codec in _PACKED if start.startswith(magic)), None)
    return opened if packed is None else pa.CompressedInputStream(opened, packed)


def _head(file: DataFile) -> bytes:
    try:
        with _open(file) as opened:
            head: bytes = opened.read(SAMPLE_BYTES)
    except OSError:
        raise DataError(f"{file.name} cannot be read: it is damaged, or was cut short") from None
    if not head.strip():
        raise DataError(f"{file.name} is empty")
    if head.startswith(_WORKBOOK):
        raise DataError(f"{file.name} is a workbook or a zip archive: save it as CSV, or unpack it")
    if _MARKUP.match(head):
        raise DataError(f"{file.name} holds JSON, XML or a web page: save its records as CSV or Parquet")
    return head


def _read(
    file: DataFile, head: bytes, encoding: str, as_text: Collection[str], given: FileFormat, warn: Warn
) -> pa.Table:
    whole = len(head) < SAMPLE_BYTES
    sample = codecs.getincrementaldecoder(encoding)().decode(head, final=whole)
    if "\0" in sample:
        raise DataError(
            f"{file.name} cannot be read as csv: it holds NUL characters; give --csv-encoding utf-16-le or "
            "utf-16-be if it is such text"
        )
    dialect = find_dialect(sample, whole, given)
    parsed = _without_edges(_parse(file, encoding, dialect, as_text))
    table = _with_digits(file, encoding, dialect, parsed)
    names = table.column_names
    if all(map(is_spelled_number, names)) and not all(map(str.isdigit, names)):
        warn(
            f"{file.name} has numbers for names ({', '.join(names[:3])}): add a line of names if it has none"
        )
    if dialect.separator != "," or dialect.decimal != "." or encoding == OTHERWISE != given.encoding:
        warn(
            f"{file.name} is read with separator {dialect.separator!r}, decimal sign {dialect.decimal!r}, "
            f"encoding {encoding}: if that is wrong, give --csv-separator, --csv-decimal, --csv-encoding"
        )
    for name, text in dialect.doubtful.items():
        if name not in as_text:
            warn(
                f"column {name!r} is read with a decimal point: {text!r} as {float(text):.15g}; if "
                "points group thousands, give --csv-decimal ,"
            )
    plain_table = pa.table([plain(c) for c in table.columns], names=names)
    others = [sign for sign in SIGNS if sign != dialect.decimal and given.decimal is None]
    return read_spelled_numbers(plain_table, [dialect.decimal, *others], as_text, warn)


def _without_edges(table: pa.Table) -> pa.Table:
    """Without the columns that have neither a name nor a value: spreadsheets leave some behind."""
    places = [
        i for i, name in enumerate(table.column_names) if name.strip() or table[i].null_count < len(table)
    ]
    return table.select(places)


def _with_digits(file: DataFile, encoding: str, dialect: Dialect, table: pa.Table) -> pa.Table:
    """Integers stay text that are written with leading zeros, or all with more digits than a number keeps:
    they are names, and lost digits as numbers."""
    if table.column_names != list(dict.fromkeys(table.column_names)):
        return table
    doubtful = [name for name in table.column_names if _may_have_lost_digits(table[name])]
    if not doubtful:
        return table
    written = _parsed(file, encoding, dialect, doubtful, only_text=True)
    for name in doubtful:
        text = written[name]
        zeros = pc.any(pc.match_substring_regex(text, LEADING_ZERO)).as_py()
        if zeros or pc.all(pc.match_substring_regex(text, LONG)).as_py():
            table = table.set_column(table.column_names.index(name), name, written[name])
    return table


def _may_have_lost_digits(column: pa.ChunkedArray) -> bool:
    if pa.types.is_integer(column.type):
        return True
    if not pa.types.is_floating(column.type):
        return False
    bounds = pc.min_max(column).as_py()
    return bounds["max"] is not None and max(bounds["max"], -bounds["min"]) > EXACT


def _parse(file: DataFile, encoding: str, dialect: Dialect, as_text: Collection[str]) -> pa.Table:
    try:
        return _parsed(file, encoding, dialect, as_text)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
    found: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        found.append(row)
        return "error"

    try:  # again, on one thread: only so it counts the rows
        return _parsed(file, encoding, dialect, as_text, threads=False, bad_row=note)
    except (pa.ArrowException, OSError):
        if not found:
            raise DataError(f"{file.name} cannot be read as csv ({reason}): {_MENDS}") from None
    row = found[0]
    raise DataError(
        f"{file.name} cannot be read as csv: line {row.number} has {row.actual_columns} fields where the "
        f"header has {row.expected_columns}, separated by {dialect.separator!r}: mend it, put text "
        f"that holds the separator in quotes, or {_MENDS}"
    )


def _parsed(
    file: DataFile,
    encoding: str,
    dialect: Dialect,
    as_text: Collection[str],
    *,
    threads: bool = True,
    bad_row: Callable[[pa_csv.InvalidRow], str] | None = None,
    only_text: bool = False,
) -> pa.Table:
    with _open(file) as opened:
        return pa_csv.read_csv(
            pa.TransformInputStream(opened, _Utf8(encoding)),
            pa_csv.ReadOptions(block_size=BLOCK_BYTES, skip_rows=dialect.skip_rows, use_threads=threads),
            pa_csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char=dialect.quote,
                newlines_in_values=True,
                invalid_row_handler=bad_row,
            ),
            pa_csv.ConvertOptions(
                null_values=[""],
                strings_can_be_null=True,
                decimal_point=dialect.decimal,
                column_types=dict.fromkeys(as_text, pa.string()),
                include_columns=list(as_text) if only_text else None,
            ),
        )


class _Utf8:
    """Bytes of any encoding -> UTF-8 with plain line feeds: Arrow loses a byte where a CRLF within quotes
    lies on the border of two blocks. Raises UnicodeDecodeError."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ended_in_cr = False

    def __call__(self, part: pa.Buffer) -> bytes:
        text = self._decoder.decode(bytes(part), final=len(part) == 0)
        if self._ended_in_cr:
            text = "\r" + text
        self._ended_in_cr = text.endswith("\r") and len(part) > 0
        if self._ended_in_cr:
            text = text[:-1]
        return text.replace("\r\n", "\n").encode()
