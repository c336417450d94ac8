"""The `nearnorm` command. Other rooms add theirs through the entry-point group `nearnorm.commands`,
which is looked up when it is asked for, so that serving never imports training."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from nearnorm import __version__
from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.models.extras import missing_extra

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from nearnorm.models.store.folder import ModelStore
    from nearnorm.service.settings import Settings

GROUP = "nearnorm.commands"
MLFLOW = "models:/"
"""How its registry's models are named."""
OURS = {
    "keys": "keys:keys_cli",
    "analysts": "analysts:analysts_cli",
    "score": "score:score",
    "export": "export:export",
    "apply": "configuration:apply_file",
    "export-config": "configuration:export_config",
    "forget": "keys:forget",
    "worker": "retraining:worker",
    "retrain": "retraining:retrain",
    "replay": "retraining:replay",
    "review": "review:review",
    "migrate": "keys:migrate_ledger",
}
"""Commands of files beside this one: they load the ledger, which half of the others never open."""


class LateCommands(TyperGroup):
    """Commands of this file, of those beside it, and of entry points, which are imported only to be run."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - typer keeps its context's class private
        here = [*super().list_commands(ctx), *OURS]
        return [*dict.fromkeys(here), *sorted(entry.name for entry in _late())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        if cmd_name in OURS and cmd_name not in self.commands:
            file, _, name = OURS[cmd_name].partition(":")
            found = getattr(importlib.import_module(f"nearnorm.service.cli.{file}"), name)
            self.add_command(_as_command(found, cmd_name), cmd_name)
        own = super().get_command(ctx, cmd_name)
        if own is None and any(entry.name == cmd_name for entry in _late()):
            return TyperCommand(cmd_name, help=f"See `nearnorm {cmd_name} --help`.")
        return own

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        if args[0] not in self.commands and args[0] not in OURS:
            for entry in _late():
                if entry.name == args[0]:
                    self.add_command(_imported(entry), entry.name)
        return super().resolve_command(ctx, args)


def _late() -> "Sequence[EntryPoint]":
    """Looked for in every installed distribution, so that only who asks for them waits for it."""
    from importlib.metadata import entry_points

    return tuple(entry_points(group=GROUP))


def _imported(entry: "EntryPoint") -> Any:  # noqa: ANN401
    try:
        function = entry.load()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`nearnorm {entry.name}` needs the module {error.name}, which is not installed: "
            "install the extra training, as in `pip install 'nearnorm[cpu,training]'`"
        ) from None
    return _as_command(function, entry.name)


def _as_command(function: Any, name: str) -> Any:  # noqa: ANN401
    if isinstance(function, typer.Typer):
        command = typer.main.get_command(function)
    else:
        only = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        only.command(name)(function)
        command = typer.main.get_command(only)
    command.name = name
    return command


cli = typer.Typer(
    cls=LateCommands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nearnorm {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    """Score records online: how far is each from every kind of normal?"""


models_cli = typer.Typer(no_args_is_help=True, help="The model store: list, sign, import, activate.")
cli.add_typer(models_cli, name="models")


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default NEARNORM_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default NEARNORM_PORT, 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default NEARNORM_WORKERS, 1.")] = None,
) -> None:
    """Serve the champion over HTTP until told to stop."""
    from nearnorm.service.settings import load_settings

    given = {"host": host, "port": port, "workers": workers}
    settings = load_settings({name: value for name, value in given.items() if value is not None})
    if settings.workers > 1:
        from nearnorm.service.process.supervisor import run
    else:
        from nearnorm.service.process.server import run
    run(settings)


@cli.command("serve-beside", hidden=True)
def serve_beside(number: int, fileno: int, folder: Path) -> None:
    """One process of several: started by `nearnorm serve --workers`, and ended with it."""
    from nearnorm.service.process.server import run_beside
    from nearnorm.service.settings import load_settings

    run_beside(load_settings(), number, fileno, folder)


@models_cli.command("list")
def list_models() -> None:
    """The stored versions, newest last; champions are marked with their model's name."""
    store = _settings().open_store()
    champions = {entry.model: entry.version for entry in store.activations()}
    for version in store.versions():
        names = [name for name, champion in champions.items() if champion == version]
        typer.echo(" ".join([version, *names]))


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
    from nearnorm.service.cli.keys import in_ledger, written
    from nearnorm.service.ledger.tables.feedback import reference_rows

    rows = read_review(bundle, read_bundle(bundle).manifest.core)
    version = _settings().open_store().publish(bundle)
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
    model: Annotated[str, typer.Option(help="The model that it shall serve.")] = "default",
    reason: Annotated[str | None, typer.Option(help="Why, for the log and the audit trail.")] = None,
) -> None:
    """Make a version the champion; running services follow within 5 seconds."""
    settings = _settings()
    store = settings.open_store()
    found = store.resolve(version)
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
    settings = _settings()
    store = settings.open_store()
    before = store.previous(model)
    _check_serves(settings, store, model, before)
    with _audited("rollback", model, before, reason):
        entry = store.rollback(by="cli", model=model, to=before, reason=reason)
    _echo_champion(store, entry.model, entry.version)


def _echo_champion(store: "ModelStore", model: str, version: str) -> None:
    """What serves from now on, and by which policy it alerts: one belongs to models of the same columns."""
    from nearnorm.service.cli.keys import in_ledger, written
    from nearnorm.service.verdict import policies

    core = store.open(version).manifest.core
    typer.echo(f"{model} is now {version}")
    rows = core.reference.rows
    typer.echo(
        in_ledger(lambda ledger: written(ledger, lambda c: policies.describe(c, model, core.features, rows)))
    )


def _settings() -> "Settings":
    from nearnorm.service.settings import load_settings

    return load_settings()


@contextmanager
def _audited(action: str, model: str, version: str, why: str | None) -> Iterator[None]:
    """Write down an act before it happens. Raises NearnormError where that cannot be, and nothing happens."""
    from nearnorm.service.cli.keys import in_ledger, user, written
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


def _check_serves(settings: "Settings", store: "ModelStore", model: str, version: str) -> None:
    """A version that cannot serve does not get into the log: signature, model and golden rows, here and on
    the CPU, which every machine has. Raises NearnormError."""
    from nearnorm.service.serving.load import load_model

    here = settings.model_copy(update={"device": "cpu"})
    load_model(store, model, version, here, settings.read_trusted_keys())


def main() -> None:
    """Run the command line. A mistake of the user's is one line on stderr and exit code 2."""
    try:
        cli()
    except NearnormError as error:
        _end(error)
    except ModuleNotFoundError as error:
        missing = missing_extra(error, sys.argv[1] if len(sys.argv) > 1 else "")
        if missing is None:
            raise
        _end(missing)


def _end(error: NearnormError) -> NoReturn:
    sys.stderr.write(f"nearnorm: {error}\n")
    sys.exit(2)
