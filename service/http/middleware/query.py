"""Query parameters that nobody reads are refused: a misspelt `limit` would be left out in silence."""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

from nearnorm.service.errors import InvalidRequest


def query_of(query: str, known: Collection[str]) -> dict[str, str]:
    """The parameters by name, the last of each. Raises InvalidRequest naming one that is not `known`."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        read = f"this route reads {', '.join(sorted(known))}" if known else "this route reads none"
        raise InvalidRequest(f"there is no query parameter {unknown!r} here: {read}", field=unknown)
    return given


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a parameter says true; false where it is not given. Raises InvalidRequest."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise InvalidRequest(f"{name}: give true or false, not {text[:20]!r}", field=name)
    return text == "true"
