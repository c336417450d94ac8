"""Lines of versions, on the command line: what retrainings begin with, and which versions are whose."""

from collections.abc import Callable, Sequence

import sqlalchemy as sa
import typer

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.models.some_of import some_of
from nearnorm.models.store.folder import DEFAULT_MODEL, Activation, ModelStore
from nearnorm.service.access import line_quotas
from nearnorm.service.cli.keys import in_ledger, user, written
from nearnorm.service.errors import ServiceError
from nearnorm.service.ids import now_ms
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables import audit_trail as audit
from nearnorm.service.ledger.tables import lines
from nearnorm.service.ledger.tables.lines import Line, LineData
from nearnorm.service.retraining.jobs import turns
from nearnorm.service.retraining.line_of_version import line_of, lines_of
from nearnorm.service.settings import load_settings


def create(model: str, base: LineData) -> str:
    """Begin a line, or change what its retrainings begin with; answers it. Raises ConfigError."""
    if problem := lines.problem_of_name(model):
        raise ConfigError(f"--model: {problem}")

    def put(connection: sa.Connection) -> Line:
        before = lines.find(connection, model)
        line = Line(model, base.over(before.base if before else LineData()), now_ms(), user())
        lines.put(connection, line)
        audit.note(connection, line.actor, "line.change" if before else "line.create", model, **base.given())
        return line

    line = in_ledger(lambda ledger: written(ledger, put))
    given = [f"{name.replace('_', '-')}={value}" for name, value in line.base.given().items()]
    return " ".join([model, *given])


def limit(model: str, quota: Quota) -> str:
    """Set what a line may be asked for; answers it. Raises ConfigError."""
    _put(lambda connection: line_quotas.limit(connection, model, quota, user()))
    return " ".join([model, *(f"{name.replace('_', '-')}={value}" for name, value in quota.limits().items())])


def prefer(model: str, priority: int) -> str:
    """Set how soon a line's retrainings have their turn. Raises ConfigError."""
    _put(lambda connection: turns.prefer(connection, model, priority, user()))
    return f"{model} priority={priority}"


def _put(put: Callable[[sa.Connection], None]) -> None:
    def named(connection: sa.Connection) -> None:
        try:
            put(connection)
        except ConfigError as error:
            raise ConfigError(f"--model: {error}") from None

    in_ledger(lambda ledger: written(ledger, named))


def check_served(store: ModelStore, model: str) -> None:
    """Raises ConfigError for a name under which nothing serves; `default` may be on its way."""
    if model not in (serving := _serving(store)):
        raise ConfigError(f"--model: no model is named {model!r}: there is {some_of(sorted(serving))}")


def warn_if_unserved(model: str) -> None:
    """Tell who may have mistyped a name that nothing serves under it: what was said of it waits."""
    try:
        serving = _serving(load_settings().open_store())
    except NearnormError:  # what was asked for is done, whether or not the store is in reach
        return
    if model not in serving:
        warn(f"no model is named {model!r} yet, so it waits for one: there is {some_of(sorted(serving))}")


def _serving(store: ModelStore) -> set[str]:
    return store.champions().keys() | {DEFAULT_MODEL}


def warn(sentence: str) -> None:
    """On stderr; the command goes on."""
    typer.secho(f"warning: {sentence}", fg="yellow", err=True)


def versions(store: ModelStore, log: Sequence[Activation], model: str | None) -> list[str]:
    """Those of a line, oldest first; None: all that are stored. Raises ConfigError for a line without any."""
    found = store.versions()
    if model is None:
        return found

    def own(ledger: Ledger) -> list[str]:
        with ledger.read() as connection:
            return [version for version in found if model in lines_of(connection, log, version)]

    def is_known(ledger: Ledger) -> bool:
        with ledger.read() as connection:
            return lines.find(connection, model) is not None

    own_versions = in_ledger(own)
    if not own_versions and not in_ledger(is_known):
        raise ConfigError(f"no model is named {model!r}: there is {some_of(sorted(_serving(store)))}")
    return own_versions


def named_or_known(model: str | None, store: ModelStore, version: str) -> str:
    """The line that an activation means. Raises NearnormError."""
    log = store.activations()
    try:
        return in_ledger(lambda ledger: written(ledger, lambda c: line_of(c, log, version, model)))
    except ServiceError as error:
        raise NearnormError(error.detail) from None
