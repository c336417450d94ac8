"""`nearnorm export`: a bundle in the format of another tool."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    mlflow: Annotated[Path, typer.Option(help="The folder for an MLflow model: new or empty.")],
    budget: Annotated[
        str | None, typer.Option(help='A share such as "2% of normal" for its verdicts; default 1%.')
    ] = None,
) -> None:
    """Write a bundle as an MLflow model, for `mlflow.pyfunc.load_model` and `mlflow models serve`."""
    from nearnorm.models.bundle.bundle import read_bundle
    from nearnorm.service.interfaces.mlflow_model.export import export as write
    from nearnorm.service.verdict.offline import without_ledger

    opened = read_bundle(bundle)
    without_ledger(
        opened.manifest, budget
    )  # a budget that cannot be kept is refused here, not where it serves
    write(opened, mlflow, budget)
    typer.echo(f"{mlflow}: an MLflow model of version {opened.version}")
