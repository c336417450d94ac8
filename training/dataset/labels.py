"""A label column, in the words people use -> anomaly, normal or unlabelled."""

from collections.abc import Sequence
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


def parse_labels(column: pa.ChunkedArray, name: str, reading: Reading, every: bool = True) -> np.ndarray:
    """1, 0 or nothing, or words for them, or those that `reading` names -> int8 [N].

    Raises DataError naming the row whose label means none of them; ConfigError, if `every` named value has to
    be there, for one that no row has.
    """
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        raise DataError(f"label column {name!r} holds values of type {kind}: {_expected()}")
    encoded = column.dictionary_encode().unify_dictionaries()
    texts = [] if not encoded.num_chunks else [_text(v) for v in encoded.chunk(0).dictionary.to_pylist()]
    meanings = _named(texts, name, reading, every) if reading.anomaly_value else [_meaning(t) for t in texts]
    if None in meanings:
        value = encoded.chunk(0).dictionary[meanings.index(None)]
        row = pc.index(column.cast(value.type), value).as_py()
        raise DataError(f"label column {name!r}: row {row + 1} holds {value.as_py()!r}: {_expected()}")
    codes = np.array([*meanings, UNLABELLED], np.int8)
    parts = [pc.fill_null(c.indices.cast(pa.int64()), len(texts)).to_numpy() for c in encoded.chunks]
    return codes[np.concatenate(parts)] if parts else np.empty(0, np.int8)


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


def _named(texts: Sequence[str], name: str, reading: Reading, every: bool) -> list[int | None]:
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
