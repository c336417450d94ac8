"""The command line's options for where the work is done, the same for every command that has a choice."""

from enum import StrEnum
from typing import Annotated

import typer

from nearnorm.models.errors import ConfigError


class EngineName(StrEnum):
    LOCAL = "local"
    RAY = "ray"


Engine = Annotated[
    EngineName,
    typer.Option("--engine", help="What works on files: this process, or a Ray cluster (extra ray)."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Of a Ray cluster that runs; without, one is started here for the run.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="On Ray, so many at once at most; default: one a CPU (scoring: or GPU)."
    ),
]


def refuse_without_ray(engine: EngineName, address: str | None, workers: int | None) -> None:
    """Raises ConfigError for options of a cluster where none is asked for."""
    if engine is not EngineName.RAY and (address or workers):
        raise ConfigError("--address and --workers are those of a Ray cluster: give --engine ray with them")
