"""The `nearnorm` command. Other rooms add theirs through the entry-point group `nearnorm.commands`,
which is looked up when it is asked for, so that serving never imports training."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from nearnorm import __version__
from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.models.extras import missing_extra

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


GROUP = "nearnorm.commands"
OURS = {
    "models": "models:models_cli",
    "keys": "keys:keys_cli",
    "analysts": "analysts:analysts_cli",
    "score": "score:score",
    "stream": "stream:stream",
    "aggregate": "aggregate:aggregate",
    "export": "export:export",
    "apply": "configuration:apply_file",
    "export-config": "configuration:export_config",
    "forget": "keys:forget",
    "worker": "retraining:worker",
    "retrain": "retraining:retrain",
    "replay": "retraining:replay",
    "review": "review:review",
    "migrate": "keys:migrate_ledger",
    "backup": "backup:backup",
    "restore": "backup:restore",
}
"""Commands of files beside this one: they load the ledger and the store, which others never open."""


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
