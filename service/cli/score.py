"""`nearnorm score`: a file's rows, judged as the service would."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearnorm.models.data.files.options import Decimal, Encoding, Quote, Separator, file_format
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.cli.keys import in_ledger, written
from nearnorm.service.settings import Settings, listed, load_settings

if TYPE_CHECKING:
    from nearnorm.models.bundle.manifest import Manifest
    from nearnorm.service.verdict.offline import OfflineVerdict


def score(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[str, typer.Argument(help="CSV or Parquet: a file, folder, quoted glob or s3:// URL.")],
    out: Annotated[Path, typer.Option(help="Where the scores go: a .csv or .parquet file.")],
    budget: Annotated[
        str | None,
        typer.Option(
            help='Such as "1% of normal"; default: the policy in force in NEARNORM_HOME where the bundle is '
            "the champion, else 1% of normal."
        ),
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Columns of the file to write before the scores, with commas between.")
    ] = "",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Score it without most of the model's columns, too.")
    ] = False,
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
) -> None:
    """Score the rows of a file, with the numbers and verdicts that the service would give."""
    from nearnorm.models.bundle.bundle import read_bundle
    from nearnorm.service.batch.score_file import score_file

    settings = load_settings()
    opened = read_bundle(bundle)
    verdict = _verdict(settings, opened.manifest, budget)
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    device, threads = settings.device, settings.threads
    score_file(opened, verdict, data, out, device, threads, listed(keep), files, allow_missing, _warn)
    typer.echo(verdict.told)


def _warn(sentence: str) -> None:
    typer.secho(f"warning: {sentence}", fg="yellow", err=True)


def _verdict(settings: Settings, manifest: "Manifest", budget: str | None) -> "OfflineVerdict":
    """By the ledger where there is one, and the bundle is a champion there."""
    from nearnorm.service.verdict import offline

    model = _champion_of(settings, manifest.version)
    if model is None:
        return offline.without_ledger(manifest, budget)
    return in_ledger(lambda ledger: written(ledger, lambda c: offline.by_ledger(c, manifest, model, budget)))


def _champion_of(settings: Settings, version: str) -> str | None:
    """The model whose champion the version is, in a home that has a ledger."""
    if not settings.database_url and not (settings.home / "nearnorm.db").is_file():
        return None
    champions = {entry.model: entry.version for entry in settings.open_store().activations()}
    names = sorted(name for name, champion in champions.items() if champion == version)
    return DEFAULT_MODEL if DEFAULT_MODEL in names else next(iter(names), None)
