"""Scores of many records, glued together from the answers to as many requests as it took."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from nearnorm.client.answers import ItemError, ScoredRow

ALWAYS = (
    "score",
    "percentile",
    "anomaly",
    "prototype",
    "distance",
    "reconstruction_error",
    "event_id",
)
"""Columns that are there whatever was answered."""
_BY_FEATURE = ("imputed", "unknown", "novel")
_SPARSE = (*_BY_FEATURE, "novel_distance")


@dataclass
class AnswerPart:
    """One request's answer: its columns, a value or None a row. Indexes of errors are the request's own."""

    rows: int
    model: str
    version: str
    provider: str
    columns: dict[str, list[Any]]
    errors: list[ItemError] = field(default_factory=list)
    groups: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class ScoreTable(Sequence[ScoredRow]):
    """Scores in the order sent: `scores[3]` is the answer to the fourth record, as docs/api.md describes it.

    `columns` has the same by name, a list each with None where a row has no value, as pandas, polars and
    Arrow make tables of. Those in `ALWAYS` are always there, others where any row has a value. `errors` are
    those of single rows, each with its `index` among all that was sent.

    `model`, `version`, `provider` say what scored (`version` the last rows, should it have changed meanwhile:
    `warnings` say so), `groups` how the normal groups look, where reasons were asked for.
    """

    def __init__(self, parts: Sequence[AnswerPart]) -> None:
        last = parts[-1]
        self.model, self.version, self.provider = last.model, last.version, last.provider
        names = dict.fromkeys(ALWAYS) | dict.fromkeys(name for part in parts for name in part.columns)
        self.columns: dict[str, list[Any]] = {name: [] for name in names}
        self.errors: list[ItemError] = []
        self.groups: dict[str, Any] = {}
        warnings: dict[str, None] = {}
        start = 0
        for part in parts:
            for name, column in self.columns.items():
                column += part.columns.get(name) or [None] * part.rows
            for error in part.errors:
                self.errors.append({**error, "index": start + error["index"]})
            self.groups |= part.groups
            warnings |= dict.fromkeys(part.warnings)
            if part.version != last.version:
                end = start + part.rows - 1
                warnings[f"rows {start} to {end} were scored by version {part.version}"] = None
            start += part.rows
        self.warnings = list(warnings)
        self._errors = {error["index"]: error for error in self.errors}
        self._count = start

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> ScoredRow: ...

    @overload
    def __getitem__(self, place: slice) -> list[ScoredRow]: ...

    def __getitem__(self, place: int | slice) -> ScoredRow | list[ScoredRow]:
        rows = range(self._count)[place]
        return self._row(rows) if isinstance(rows, int) else [self._row(row) for row in rows]

    def __iter__(self) -> Iterator[ScoredRow]:
        return map(self._row, range(self._count))

    def __repr__(self) -> str:
        anomalies = self.columns["anomaly"].count(True)
        return f"<Scores of {self._count} rows: {anomalies} anomalies, {len(self.errors)} errors>"

    def _row(self, row: int) -> ScoredRow:
        found: Any = {name: column[row] for name, column in self.columns.items() if column[row] is not None}
        if row in self._errors:
            found["error"] = {name: value for name, value in self._errors[row].items() if name != "index"}
        scored: ScoredRow = found
        return scored


def of_json(document: Mapping[str, Any]) -> AnswerPart:
    """An answer of records, or of columns."""
    results = document["results"]
    columns, rows = _of_rows(results) if isinstance(results, list) else _of_columns(results)
    errors = document.get("errors") or []
    if isinstance(results, list):
        errors = [{"index": row, **found["error"]} for row, found in enumerate(results) if "error" in found]
        for error in errors:
            if "id" in results[error["index"]]:
                error["id"] = results[error["index"]]["id"]
    return AnswerPart(
        rows,
        document["model"]["name"],
        document["model"]["version"],
        document["provider"],
        columns,
        errors,
        document.get("groups") or {},
        document.get("warnings") or [],
    )


def _of_rows(results: list[dict[str, Any]]) -> tuple[dict[str, list[Any]], int]:
    names = dict.fromkeys(name for row in results for name in row if name != "error")
    return {name: [row.get(name) for row in results] for name in names}, len(results)


def _of_columns(results: dict[str, Any]) -> tuple[dict[str, list[Any]], int]:
    """`imputed`, `unknown`, `novel` name rows by feature, `novel_distance` rows; here each row has them."""
    rows = len(results["score"])
    columns = {name: column for name, column in results.items() if name not in _SPARSE}
    for name in _BY_FEATURE:
        if name in results:
            features: list[Any] = [None] * rows
            for feature, places in results[name].items():
                for place in places:
                    features[place] = [*(features[place] or ()), feature]
            columns[name] = features
    if "novel_distance" in results:
        far = set(results["novel_distance"])
        columns["novel_distance"] = [True if row in far else None for row in range(rows)]
    return columns, rows


def of_arrow(body: bytes) -> AnswerPart:
    """An Arrow stream's answer."""
    import pyarrow as pa  # an extra

    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    about = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    found = {
        name: table.column(name).to_pylist()
        for name in table.column_names
        if table.column(name).null_count < table.num_rows
    }
    texts = found.pop("error", [])
    kinds, fields = (found.pop(f"error_{name}", None) for name in ("type", "field"))
    errors: list[ItemError] = []
    for row, text in enumerate(texts):
        if text is not None:
            title, _, detail = text.partition(": ")
            error: ItemError = {"index": row, "title": title, "detail": detail}
            if kinds and kinds[row] is not None:
                error["type"] = kinds[row]
            if fields and fields[row] is not None:
                error["field"] = fields[row]
            if "id" in found:
                error["id"] = found["id"][row]
            errors.append(error)
    warnings = about["warnings"].split("\n") if about["warnings"] else []
    return AnswerPart(
        table.num_rows, about["model"], about["version"], about["provider"], found, errors, {}, warnings
    )
