"""Which line an activation means: the named one, or `default`, unless the version is of another."""

from collections.abc import Sequence

import sqlalchemy as sa

from nearnorm.models.store.folder import DEFAULT_MODEL, Activation
from nearnorm.service.errors import Conflict, InvalidRequest
from nearnorm.service.ledger.seen_lines import EVERY_LINE, SeenLines
from nearnorm.service.ledger.tables import jobs, lines


def lines_of(connection: sa.Connection, log: Sequence[Activation], version: str) -> set[str]:
    """The lines that a version served in, or was trained for."""
    served = {entry.model for entry in log if entry.version == version}
    return served | jobs.lines_of(connection, version)


def versions_of(connection: sa.Connection, log: Sequence[Activation], lines: SeenLines) -> frozenset[str]:
    """The versions that served in lines, or were trained for them."""
    served = {entry.version for entry in log if lines.sees(entry.model)}
    return frozenset(served | jobs.versions_of(connection, lines))


def line_of(
    connection: sa.Connection,
    log: Sequence[Activation],
    version: str,
    named: str | None,
    seen: SeenLines = EVERY_LINE,
) -> str:
    """Raises Conflict for a version of another line than the default one, where none is `named`, and
    InvalidRequest for a new one that cannot be called so."""
    if named is not None:
        if named not in {entry.model for entry in log} and (problem := lines.problem_of_name(named)):
            raise InvalidRequest(f"model: {problem}", field="model")
        return named
    known = set(filter(seen.sees, lines_of(connection, log, version)))
    if known <= {DEFAULT_MODEL}:
        return DEFAULT_MODEL
    spoken = " and ".join(repr(name) for name in sorted(known))
    raise Conflict(
        f"version {version} is of {spoken}: name the one that it shall serve (`model`, or --model)",
        field="model",
    )
