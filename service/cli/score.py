"""`nearnorm score`: rows of files, judged as the service would."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearnorm.models.data.files.options import Decimal, Encoding, Quote, Separator, file_format
from nearnorm.models.engines.options import Address, Engine, EngineName, Workers, refuse_without_ray
from nearnorm.models.errors import ConfigError
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.cli.keys import in_ledger, written
from nearnorm.service.settings import Settings, listed, load_settings

if TYPE_CHECKING:
    from nearnorm.models.bundle.manifest import Manifest
    from nearnorm.models.data.files.format import FileFormat
    from nearnorm.service.batch.parts.run import RunProgress
    from nearnorm.service.batch.record_batches import BatchScorer
    from nearnorm.service.verdict.offline import OfflineVerdict

SECONDS_BETWEEN = 2.0
"""Two lines of progress."""


def score(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[str, typer.Argument(help="CSV or Parquet: a file, folder, quoted glob or s3:// URL.")],
    out: Annotated[
        str,
        typer.Option(
            help="Where the scores go: a .csv or .parquet file; or a folder or s3:// URL, for a part for "
            "each file or more: a run that ended early goes on where it was."
        ),
    ],
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
    engine: Engine = EngineName.LOCAL,
    address: Address = None,
    workers: Workers = None,
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
) -> None:
    """Score the rows of files, with the numbers and verdicts that the service would give."""
    from nearnorm.models.bundle.bundle import read_bundle
    from nearnorm.service.batch.record_batches import BatchScorer

    on_ray = engine is EngineName.RAY
    refuse_without_ray(engine, address, workers)
    parted = _is_for_parts(out)
    if on_ray and not parted:
        raise ConfigError(f"--out {out}: an engine writes parts: name a folder or a URL")

    settings = load_settings()
    opened = read_bundle(bundle)
    verdict = _verdict(settings, opened.manifest, budget)
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    scorer = BatchScorer(
        opened, verdict, settings.device, settings.threads, tuple(listed(keep)), allow_missing, data, _warn
    )
    if parted:
        _score_parts(scorer, data, out, files, address, workers, on_ray)
    else:
        from nearnorm.service.batch.score_file import score_file

        score_file(scorer, data, Path(out), files)
    typer.echo(verdict.told)


def _is_for_parts(out: str) -> bool:
    """Raises ConfigError for a name that is neither a file's nor a folder's."""
    if "://" in out or out.endswith("/") or Path(out).is_dir() or not Path(out).suffix:
        return True
    if Path(out).suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: its name must end in .csv or .parquet, or in / for a folder")
    return False


def _score_parts(
    scorer: "BatchScorer",
    data: str,
    out: str,
    files: "FileFormat",
    address: str | None,
    workers: int | None,
    on_ray: bool,
) -> None:
    from nearnorm.service.batch.parts.on_ray import RayEngine
    from nearnorm.service.batch.parts.run import in_this_process, score_parts

    engine = RayEngine(address, workers) if on_ray else in_this_process
    there = score_parts(scorer, data, out, files, engine, _Told())
    counts = there.counts
    typer.echo(
        f"{there.of:,} parts in {out}: {counts.rows:,} rows, {counts.anomalies:,} anomalies, "
        f"{counts.errors:,} with an error"
    )


class _Told:
    """Progress, as a line on stderr now and then."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._before: int | None = None

    def __call__(self, progress: "RunProgress") -> None:
        rows, now = progress.counts.rows, time.monotonic()
        if self._before is None:
            self._before = rows
            if progress.parts:
                typer.echo(f"{progress.parts:,} of {progress.of:,} parts are there already", err=True)
        elif now - self._last >= SECONDS_BETWEEN:
            self._last = now
            speed = (rows - self._before) / (now - self._began)
            typer.echo(
                f"{progress.parts:,} of {progress.of:,} parts, {rows:,} rows, {speed:,.0f} rows/s", err=True
            )


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
