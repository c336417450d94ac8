"""A label column, in the words people use -> anomaly, normal or unlabelled."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.bundle.manifest import Reading
from nearnorm.models.errors import ConfigError, DataError

ANOMALY, NORMAL, UNLABELLED = 1, 0, -1

_ANOMALY = frozenset({"1", "true", "t", "yes", "y", "anomaly"})
_NORMAL = frozenset({"0", "false", "f", "no", "n", "normal"})
_UNLABELLED = frozenset({"", "na", "n/a", "nan", "null", "none"})
_MOST_NAMED = 5
_MOST_WORDS = 100_000


def parse_labels(column: pa.ChunkedArray, name: str, reading: Reading, every: bool = True) -> np.ndarray:
    """1, 0 or nothing, or words for them, or those that `reading` names -> int8 [N].

    Raises DataError naming the row whose label means none of them; ConfigError, if `every` named value has to
    be there, for one that no row has.
    """
    words = LabelWords(name)
    words.add(column)
    return labels_of(column, words.meanings(reading, every))


def to_learn_from(labels: np.ndarray) -> np.ndarray:
    """Labels [N] as training takes them: where every row has one, 0 says no more than that a row is not known
    to be an anomaly, as what is normal is learnt from rows that nobody has looked at."""
    if (labels == UNLABELLED).any():
        return labels
    return np.where(labels == NORMAL, UNLABELLED, labels).astype(np.int8)


class LabelWords:
    """The words of a label column, which may come in parts: `rows` of each, and the `first` that has it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen = 0
        self._values: dict[str, object] = {}
        self.rows: dict[str, int] = {}
        self.first: dict[str, int] = {}

    def add(self, column: pa.ChunkedArray) -> None:
        """The next rows. Raises DataError for a type that holds no labels, and for too many words."""
        kind = column.type
        if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
            raise DataError(f"label column {self._name!r} holds values of type {kind}: {_expected()}")
        for chunk in column.chunks:
            encoded = _encoded(chunk)
            values, codes = encoded.dictionary, encoded.indices
            present = pc.is_valid(codes).to_numpy(zero_copy_only=False)
            places = np.flatnonzero(present)
            used, first, counts = np.unique(
                pc.drop_null(codes).to_numpy(), return_index=True, return_counts=True
            )
            for code, place, count in zip(
                used.tolist(), places[first].tolist(), counts.tolist(), strict=True
            ):
                value = values[code].as_py()
                text = _text(value)
                self._values.setdefault(text, value)
                self.first[text] = min(self.first.get(text, self._seen + place), self._seen + place)
                self.rows[text] = self.rows.get(text, 0) + count
            self._seen += len(chunk)
            if len(self.rows) > _MOST_WORDS:
                raise DataError(
                    f"label column {self._name!r} holds more than {_MOST_WORDS:,} different values: give "
                    "--label-column where the labels stand in another"
                )

    def meanings(self, reading: Reading, every: bool = True) -> dict[str, int]:
        """What each word means. Raises DataError and ConfigError as `parse_labels`."""
        texts = list(self.rows)
        if reading.anomaly_value:
            return dict(zip(texts, _named(texts, self._name, reading, every), strict=True))
        known = {text: meaning for text in texts if (meaning := _meaning(text)) is not None}
        wrong = [text for text in texts if text not in known]
        if wrong:
            text = min(wrong, key=self.first.__getitem__)
            row, value = self.first[text], self._values[text]
            raise DataError(f"label column {self._name!r}: row {row + 1} holds {value!r}: {_expected()}")
        return known


def labels_of(column: pa.ChunkedArray, meanings: Mapping[str, int]) -> np.ndarray:
    """The labels int8 [N] of a column's rows by what their words mean."""
    parts = [np.empty(0, np.int8)]
    for chunk in column.chunks:
        encoded = _encoded(chunk)
        texts = map(_text, encoded.dictionary.to_pylist())
        codes = np.array([*(meanings.get(text, UNLABELLED) for text in texts), UNLABELLED], np.int8)
        parts.append(codes[pc.fill_null(encoded.indices.cast(pa.int64()), len(codes) - 1).to_numpy()])
    return np.concatenate(parts)


def _encoded(chunk: pa.Array) -> pa.DictionaryArray:
    return chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()


def _expected() -> str:
    return (
        "a label is 1 (anomaly), 0 (normal) or nothing (unlabelled), or true, false, yes, no; "
        "for other words give --anomaly-value and --normal-value"
    )


def _text(value: object) -> str:
    """5, 5.0 and the decimal 5.00 are "5"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (float, Decimal)) and value == int(value):
        return str(int(value))
    return str(value).strip()


def _meaning(text: str) -> int | None:
    word = text.lower()
    if word in _UNLABELLED:
        return UNLABELLED
    try:
        number = float(word)
    except ValueError:
        number = None
    if word in _ANOMALY or number == 1:
        return ANOMALY
    return NORMAL if word in _NORMAL or number == 0 else None


def _named(texts: Sequence[str], name: str, reading: Reading, every: bool) -> list[int]:
    """By --anomaly-value and --normal-value; without the second the one other word is the normal one."""
    anomaly, normal = reading.anomaly_value, reading.normal_value
    for option, value in (("--anomaly-value", anomaly), ("--normal-value", normal)):
        if every and value is not None and value not in texts:
            has = ", ".join(map(repr, sorted(texts)[:_MOST_NAMED]))
            raise ConfigError(f"{option} {value}: no row has it in column {name!r} (it has {has})")
    others = sorted({t for t in texts if t != anomaly and t.lower() not in _UNLABELLED})
    if normal is None and len(others) > 1:
        listed = ", ".join(map(repr, others[:_MOST_NAMED]))
        raise ConfigError(
            f"label column {name!r} has {len(others)} words beside {anomaly!r} ({listed}): say by "
            "--normal-value which one means normal; rows with others are unlabelled then"
        )
    normal = normal or (others[0] if others else None)
    meaning = {anomaly: ANOMALY, normal: NORMAL}
    return [meaning.get(text, UNLABELLED) for text in texts]
