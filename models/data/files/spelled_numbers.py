"""Numbers as people write them: 1.234,50 or 1,234.50, with a currency sign or percent; as bookkeepers write
negative ones: (12.50) and 12.50-."""

import re
from collections.abc import Callable, Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.data.files.plain import TEXT
from nearnorm.models.data.toml_text import quoted

SIGNS = (".", ",")
MOST_SHARE_OF_WORDS = 0.5
"""Of a column's distinct texts that may be none (marks of missing values, mostly) beside such numbers."""
FIRST_LOOK = 50
_SPACES = "\u0020\u00a0\u202f'\u2019"  # between thousands: also Switzerland's apostrophe
_UNIT = r"[€$£¥₹₽₺₩%]|EUR|USD|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|HUF|RON|TRY|BRL|CAD|AUD|MXN|ZAR"


_PLAIN = {".": re.compile(r"^[+-]?\d+(\.\d+)?$"), ",": re.compile(r"^[+-]?\d+$")}
"""By decimal sign, what any program reads as the same number."""
_SHORT = re.compile(r"\s*[+-]?\d{1,3}\s*")


def _grammar(decimal: str, group: str) -> re.Pattern[str]:
    indian = rf"\d{{1,2}}(?:{re.escape(group)}\d\d)+{re.escape(group)}\d{{3}}"  # 12,34,567
    one = rf"[1-9]\d{{0,2}}(?P<mark>[{re.escape(group)}{_SPACES}])\d{{3}}(?:(?P=mark)\d{{3}})*"
    sign = re.escape(decimal)
    whole = rf"{one}|{indian}|\d+|(?={sign}\d)"  # ,50 is 0,50
    return re.compile(
        rf"\s*(?P<open>\()?(?P<first>[+\-\u2212]?)\s?(?P<before>{_UNIT})?\s?(?P<second>[+\-\u2212]?)"
        rf"(?P<whole>{whole})(?:{sign}(?P<rest>\d+)(?P<power>[eE][+-]?\d\d?)?)?(?P<last>-)?"
        rf"\s?(?P<after>{_UNIT})?(?(open)\))\s*"
    )


_GRAMMARS = {".": _grammar(".", ","), ",": _grammar(",", ".")}


def is_spelled_number(text: str) -> bool:
    return any(grammar.fullmatch(text) for grammar in _GRAMMARS.values())


def decimal_sign(columns: Sequence[Sequence[str]], separator: str) -> str:
    """The decimal sign of a file from some of its cells: a comma where a column can only be read so and none
    only by a point; 1,234 alone says little, and means a comma where the separator is none. What groups
    thousands is no decimal sign."""
    clear: set[str] = set()
    open_ = False
    for column in columns:
        texts = {cell for cell in column if any(map(str.isdigit, cell))}  # not "NULL"
        if not any("," in text or "." in text for text in texts):
            continue
        fits = [sign for sign in SIGNS if all(map(_GRAMMARS[sign].fullmatch, texts))]
        if len(fits) > 1 and (grouped := [sign for sign in SIGNS if _is_grouped(texts, sign)]):
            clear.update(set(SIGNS) - set(grouped))
        elif len(fits) == 1 and (separator != "," or any(fits[0] in text for text in texts)):
            clear.add(fits[0])
        elif len(fits) > 1:
            open_ |= any("," in text for text in texts)
    if clear:
        return "," if clear == {","} else "."
    return "," if open_ and separator != "," else "."


def may_be_grouped(texts: Collection[str], mark: str) -> bool:
    """Whether three digits stand behind every mark, what could be thousands before it, and no more than three
    digits where there is none."""
    grouped = re.compile(rf"\s*[+-]?[1-9]\d{{0,2}}(?:\{mark}\d{{3}})+\s*")
    return any(mark in text for text in texts) and all(
        (grouped if mark in text else _SHORT).fullmatch(text) for text in texts
    )


def _is_grouped(texts: Collection[str], mark: str) -> bool:
    """Whether a mark can only group thousands: beside 879, 1.360 has a zero that nobody writes behind a
    decimal sign who leaves it out of 879."""
    with_one = [text for text in texts if mark in text]
    has_zero = any(text.rstrip().endswith("0") for text in with_one)
    return has_zero and len(with_one) < len(texts) and may_be_grouped(texts, mark)


def read_spelled_numbers(
    table: pa.Table, signs: Sequence[str], as_text: Collection[str], warn: Callable[[str], object]
) -> pa.Table:
    """Text columns that hold such numbers -> float64; beside a few words the numbers are respelled as 1234.5
    and stay text. `signs` are the decimal signs that may be, the usual one first; columns named in
    `as_text` are left as they stand."""
    for i, name in enumerate(table.column_names):
        if name in as_text or table.schema.types[i] != TEXT:
            continue
        column = table.column(i).unify_dictionaries()
        if not column.num_chunks:
            continue
        texts = column.chunk(0).dictionary.to_pylist()
        found = next((f for sign in signs if (f := _numbers(texts, sign, sign == signs[0]))), None)
        if found is None:
            continue
        table = table.set_column(i, name, _respelled(column, texts, found))
        spelled = [text for text in texts if text in found]
        example = max(spelled, key=lambda text: len(_PLAIN[","].sub("", text)))
        warn(
            f"column {name!r} is read as numbers: {example!r} as {found[example]:.15g}; if these are names, "
            f'set kind = "categorical" in [schema.{quoted(name)}]'
        )
    return table


def _numbers(texts: Sequence[str], sign: str, usual: bool) -> dict[str, float] | None:
    """The numbers of the texts that are such, by a sign; None: too few are, or nothing tells so."""
    present = [text for text in texts if text.strip()]
    grammar = _GRAMMARS[sign]
    look = present[:FIRST_LOOK]
    if sum(1 for text in look if grammar.fullmatch(text)) <= MOST_SHARE_OF_WORDS * len(look):
        return None
    matches = {text: match for text in present if (match := grammar.fullmatch(text))}
    if len(matches) <= MOST_SHARE_OF_WORDS * len(present):
        return None
    units = {m[g] for m in matches.values() for g in ("before", "after") if m[g]}
    with_sign = any(match["rest"] for match in matches.values())
    groups = {re.sub(r"\d", "", match["whole"]) for match in matches.values()}
    booked = sum(1 for match in matches.values() if match["open"] or match["last"])
    if booked == len(matches) and not with_sign:  # (030) and 12- are something else
        return None
    plain = not any(_PLAIN[sign].sub("", text.strip()) for text in matches)
    # groups by spaces alone, as many in every value, are telephone numbers and the like
    grouped = len(groups) > 1 or any(mark in ".,'\u2019" for group in groups for mark in group)
    if plain or len(units) > 1 or not (with_sign or booked or (usual and (units or grouped))):
        return None
    if not (with_sign or units or booked) and any(
        text not in matches and is_spelled_number(text) for text in present
    ):  # 12.5 beside 1.234: no groups of thousands after all
        return None
    return {text: _value(match) for text, match in matches.items()}


def _value(match: re.Match[str]) -> float:
    digits = re.sub(r"\D", "", match["whole"])
    value = float(f"{digits}.{match['rest'] or 0}{match['power'] or ''}")
    negative = {match["first"], match["second"], match["last"]} & {"-", "\u2212"} or match["open"]
    return -value if negative else value


def _respelled(column: pa.ChunkedArray, texts: Sequence[str], found: dict[str, float]) -> pa.ChunkedArray:
    words = [text for text in texts if text.strip() and text not in found]
    if words:
        spelled = pa.array([repr(found[t]) if t in found else t for t in texts], pa.string())
    else:
        spelled = pa.array([found.get(text) for text in texts], pa.float64())
    chunks = [pc.take(spelled, chunk.indices) for chunk in column.chunks]
    taken = pa.chunked_array(chunks, spelled.type)
    return taken.cast(TEXT) if words else taken
