"""Commands of the model store: sign, import, activate, roll back; upkeep.py has the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.cli import lines, upkeep
from nearnorm.service.cli.keys import Limit, in_ledger, user, written
from nearnorm.service.ledger.quota import Quota
from nearnorm.service.ledger.tables.lines import MOST_PRIORITY, LineData
from nearnorm.service.settings import Settings, load_settings

MLFLOW = "models:/"
"""How its registry's models are named."""

models_cli = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The model store: list, import, activate, delete."
)
models_cli.command("list")(upkeep.list_models)
models_cli.command("delete")(upkeep.delete)
models_cli.command("gc")(upkeep.collect)
models_cli.command("verify")(upkeep.verify)


@models_cli.command("create")
def create_model(
    model: Annotated[str, typer.Option(help="Its name.")],
    training_data: Annotated[str | None, typer.Option(help="Base data of its retrainings.")] = None,
    reference_data: Annotated[str | None, typer.Option(help="Rows known to be normal, for them.")] = None,
    training_config: Annotated[Path | None, typer.Option(help="Their recipe, a TOML file.")] = None,
) -> None:
    """Begin a line of versions, before its first one is activated. Once more: change what is given."""
    config = str(training_config.absolute()) if training_config else None
    typer.echo(lines.create(model, LineData(training_data, reference_data, config)))


@models_cli.command("limit")
def limit_model(
    model: Annotated[str, typer.Option(help="Its name.")],
    rows_per_second: Limit = None,
    requests_per_second: Limit = None,
    rows_per_request: Limit = None,
) -> None:
    """Set what a model may be asked for, by all callers together; what is not given is not limited."""
    typer.echo(lines.limit(model, Quota(rows_per_second, requests_per_second, rows_per_request)))
    lines.warn_if_unserved(model)


@models_cli.command("priority")
def prefer_model(
    priority: Annotated[int, typer.Argument(min=1, max=MOST_PRIORITY, help="1 is what every model has.")],
    model: Annotated[str, typer.Option(help="Its name.")],
) -> None:
    """Let a model's retrainings have their turn so many times sooner than others'."""
    typer.echo(lines.prefer(model, priority))
    lines.warn_if_unserved(model)


@models_cli.command("import")
def import_model(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, or models:/NAME@ALIAS of MLflow.")],
) -> None:
    """Copy a bundle into the store, its reviewable rows into the ledger, and print its version last."""
    if not bundle.startswith(MLFLOW):
        _import(Path(bundle))
        return
    from nearnorm.service.interfaces.mlflow_model.registry import download

    with TemporaryDirectory() as folder:
        _import(download(bundle, Path(folder)))


def _import(bundle: Path) -> None:
    from nearnorm.models.bundle.bundle import read_bundle
    from nearnorm.models.bundle.review import read_review
    from nearnorm.service.ledger.tables.feedback import reference_rows

    rows = read_review(bundle, read_bundle(bundle).manifest.core)
    version = load_settings().open_store().publish(bundle)
    if rows:
        in_ledger(lambda ledger: written(ledger, lambda c: reference_rows.put(c, version, rows)))
    typer.echo(version)


@models_cli.command()
def sign(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder, before it is imported.")],
    key: Annotated[Path, typer.Option(help="A private Ed25519 key: a PEM file without a password.")],
) -> None:
    """Sign a bundle, so that services with NEARNORM_TRUSTED_KEYS take it."""
    from nearnorm.models.bundle.signature import SigningKey

    typer.echo(f"signed {SigningKey(key).sign(bundle)}")


@models_cli.command()
def activate(
    version: Annotated[str, typer.Argument(help="A version, or the beginning of one.")],
    model: Annotated[
        str | None, typer.Option(help="The model that it shall serve; `default`, if it is no other's.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the log and the audit trail.")] = None,
) -> None:
    """Make a version the champion; running services follow within 5 seconds."""
    settings = load_settings()
    store = settings.open_store()
    found = store.resolve(version)
    model = lines.named_or_known(model, store, found)
    _check_serves(settings, store, model, found)
    with _audited("activate", model, found, reason):
        entry = store.activate(found, by="cli", model=model, reason=reason)
    _echo_champion(store, entry.model, entry.version)


@models_cli.command()
def rollback(
    model: Annotated[str, typer.Option(help="The model to take one step back.")] = "default",
    reason: Annotated[str | None, typer.Option(help="Why, for the log and the audit trail.")] = None,
) -> None:
    """Put the champion before this one back."""
    settings = load_settings()
    store = settings.open_store()
    lines.check_served(store, model)
    before = store.previous(model)
    _check_serves(settings, store, model, before)
    with _audited("rollback", model, before, reason):
        entry = store.rollback(by="cli", model=model, to=before, reason=reason)
    _echo_champion(store, entry.model, entry.version)


def _echo_champion(store: ModelStore, model: str, version: str) -> None:
    """What serves from now on, and by which policy it alerts: one belongs to models of the same columns."""
    from nearnorm.service.verdict import policies

    core = store.open(version).manifest.core
    typer.echo(f"{model} is now {version}")
    rows = core.reference.rows
    typer.echo(
        in_ledger(lambda ledger: written(ledger, lambda c: policies.describe(c, model, core.features, rows)))
    )


@contextmanager
def _audited(action: str, model: str, version: str, why: str | None) -> Iterator[None]:
    """Write down an act before it happens. Raises NearnormError where that cannot be, and nothing happens."""
    from nearnorm.service.ledger.tables import audit_trail as audit

    by = user()
    detail = {"version": version} | ({"reason": why} if why is not None else {})
    in_ledger(lambda ledger: written(ledger, lambda c: audit.note(c, by, action, model, **detail)))
    try:
        yield
    except NearnormError as error:
        reason = str(error)
        in_ledger(
            lambda ledger: written(
                ledger, lambda c: audit.note_failure(c, by, action, model, version, reason)
            )
        )
        raise


def _check_serves(settings: Settings, store: ModelStore, model: str, version: str) -> None:
    """A version that cannot serve does not get into the log: signature, model and golden rows, here and on
    the CPU, which every machine has. Raises NearnormError."""
    from nearnorm.service.serving.memory.load import load_model

    here = settings.model_copy(update={"device": "cpu"})
    load_model(store.open, model, version, here, settings.read_trusted_keys())
