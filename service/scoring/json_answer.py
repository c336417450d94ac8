"""Scores -> the answer, in the order sent: results of rows, or columns."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.shapes import (
    Answer,
    Envelope,
    Failure,
    IndexedProblem,
    ModelRef,
    Result,
    ResultColumns,
)
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Batch, Scores
from nearnorm.service.verdict.novelty import Novel

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def answered(
    facts: ModelFacts,
    request: Envelope,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None = None,
) -> bytes:
    """The answer as JSON. Where there is nothing but scores, a batch's rows are written at once."""
    bare = _is_bare(request) and encoded.whole and not noted.matched
    # who has a batch of many rows for himself shares nothing: written in one pass
    if scores is None or not bare or 1 < len(scores) == len(scores.batch.score):
        return _encode(answer(facts, request, encoded, scores, noted, reasons))
    head = _head(facts.ref.name, facts.ref.version, facts.provider)
    rows = _rows(facts, scores.batch)[scores.start : scores.stop]
    for index, event_id in noted.event_ids.items():
        rows[index] = b'%b,"event_id":"%b"}' % (rows[index][:-1], event_id.encode())
    return b"%b%b]}" % (head, b",".join(rows))


def result_lines(
    facts: ModelFacts, encoded: Encoded, scores: Scores | None, noted: Remembered
) -> list[bytes]:
    """The result of every row sent, each JSON by itself, in the order sent."""
    plain = not (encoded.errors or encoded.imputed or encoded.unknown or noted.matched or noted.event_ids)
    if scores is None or not plain:
        return _encode_lines(row_results(facts, encoded, scores, None, noted)).splitlines()
    rows = _rows(facts, scores.batch)[scores.start : scores.stop]
    if encoded.ids is None:
        return rows
    return [
        row if given == b"null" else b'%b,"id":%b}' % (row[:-1], given)
        for row, given in zip(rows, _encode_lines(encoded.ids).splitlines(), strict=True)
    ]


def _is_bare(request: Envelope) -> bool:
    return request.records is not UNSET and not request.explain


@cache
def _head(name: str, version: str, provider: str) -> bytes:
    return _encode(Answer(ModelRef(name, version), provider, []))[: -len(b"]}")]


def _rows(facts: ModelFacts, batch: Batch) -> list[bytes]:
    """Every row's result as JSON."""
    if batch.written is None:
        results = list(
            map(
                Result,
                batch.score,
                batch.percentile,
                batch.anomaly,
                batch.prototype,
                batch.distance,
                batch.reconstruction_error,
            )
        )
        _say_novel(facts, results, batch.novel)
        batch.written = _encode_lines(results).split(b"\n")
    return batch.written


def _say_novel(facts: ModelFacts, results: list[Any], novel: Novel) -> None:
    """What nobody has seen, of the rows that have any."""
    named: dict[tuple[int, ...], list[str]] = {}  # thousands of rows may be novel in the same way
    for row, signals in novel.items():
        if signals not in named:
            named[signals] = facts.signals.features(signals)
        if named[signals]:
            results[row].novel = named[signals]
        if facts.signals.distance in signals:
            results[row].novel_distance = True


def answer(
    facts: ModelFacts,
    request: Envelope,
    encoded: Encoded,
    scores: Scores | None,
    noted: Remembered,
    reasons: Reasons | None = None,
) -> Answer:
    """The whole answer. `scores` has one for each of the rows without an error."""
    reply = Answer(facts.ref, facts.provider, [])
    if isinstance(request.columns, UnsetType):
        reply.results = row_results(facts, encoded, scores, reasons, noted)
    else:
        reply.results = _columns(facts, encoded, scores, reasons, noted)
        reply.errors = _indexed_problems(encoded) or None
    if reasons is not None:
        reply.groups = reasons.groups
    reply.warnings = all_warnings(encoded, reasons) or None
    return reply


def all_warnings(encoded: Encoded, reasons: Reasons | None) -> list[str]:
    """What is to be said of a body as a whole."""
    if reasons is None or reasons.warning is None:
        return encoded.remarks
    return [*encoded.remarks, reasons.warning]


def row_results(
    facts: ModelFacts,
    encoded: Encoded,
    scores: Scores | None,
    reasons: Reasons | None,
    noted: Remembered,
) -> list[Result | Failure]:
    """One for each row sent."""
    results: list[Any] = []
    if scores:
        results = list(
            map(
                Result,
                scores.score,
                scores.percentile,
                scores.anomaly,
                scores.prototype,
                scores.distance,
                scores.reconstruction_error,
            )
        )
        _say_novel(facts, results, scores.novel)
    for index, event_id in noted.event_ids.items():
        results[index].event_id = event_id
    for index, matched in noted.matched.items():
        results[index].matched_feedback = matched
    if reasons is not None:
        for index, found in reasons.by_row.items():
            results[index].reasons = found
    if encoded.kept is not None:
        scored = iter(results)
        errors = encoded.errors
        results = [Failure(errors[p]) if p in errors else next(scored) for p in range(encoded.count)]
    for place, names in encoded.imputed.items():
        results[place].imputed = names
    for place, texts in encoded.unknown.items():
        results[place].unknown = list(texts)
    if encoded.ids is not None:
        for result, given in zip(results, encoded.ids, strict=True):
            if given is not None:
                result.id = given
    return results


def _columns(
    facts: ModelFacts,
    encoded: Encoded,
    scores: Scores | None,
    reasons: Reasons | None,
    noted: Remembered,
) -> ResultColumns:
    spread = spreader(encoded)
    novel = novel_places(facts, encoded, scores)

    def sparse(values: Mapping[int, Any]) -> list[Any] | None:
        if not values:
            return None
        full: list[Any] = [None] * len(encoded.rows)
        for index, value in values.items():
            full[index] = value
        return spread(full)

    return ResultColumns(
        spread(scores.score if scores else []),
        spread(scores.percentile if scores else []),
        spread(scores.anomaly if scores else []),
        spread(scores.prototype if scores else []),
        spread(scores.distance if scores else []),
        spread(scores.reconstruction_error if scores else []),
        None if encoded.ids is None else list(encoded.ids),
        sparse(noted.event_ids),
        _by_feature(encoded.imputed),
        _by_feature(encoded.unknown),
        _by_feature({place: names for place, (names, _) in novel.items()}),
        [place for place, (_, far) in novel.items() if far] or None,
        sparse(reasons.by_row) if reasons else None,
        sparse(noted.matched),
    )


def novel_places(
    facts: ModelFacts, encoded: Encoded, scores: Scores | None
) -> dict[int, tuple[list[str], bool]]:
    """By the place of a row: its novel features, and whether its distance is novel."""
    if scores is None:
        return {}
    places, known = encoded.places(), facts.signals
    return {
        places[row]: (known.features(signals), known.distance in signals)
        for row, signals in scores.novel.items()
    }


def spreader(encoded: Encoded, otherwise: object = None) -> Callable[[Sequence[Any]], list[Any]]:
    """Puts values of the rows without an error in their places, null or something else in the others."""
    kept = encoded.kept
    if kept is None:
        return list

    def spread(values: Sequence[Any]) -> list[Any]:
        full: list[Any] = [otherwise] * encoded.count
        for place, value in zip(kept, values, strict=True):
            full[place] = value
        return full

    return spread


def _by_feature(names: dict[int, list[str]] | dict[int, dict[str, str]]) -> dict[str, list[int]] | None:
    found: dict[str, list[int]] = {}
    for place, features in names.items():
        for feature in features:
            found.setdefault(feature, []).append(place)
    return found or None


def _indexed_problems(encoded: Encoded) -> list[IndexedProblem]:
    return [
        IndexedProblem(
            place,
            problem.type,
            problem.title,
            problem.detail,
            problem.field,
            None if encoded.ids is None else encoded.ids[place],
        )
        for place, problem in sorted(encoded.errors.items())
    ]
