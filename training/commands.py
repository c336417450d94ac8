"""`nearnorm inspect`, `nearnorm train` and `nearnorm evaluate`: what they take and what they tell."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from nearnorm.models.data.files.format import FileFormat
from nearnorm.models.data.files.options import Decimal, Encoding, Quote, Separator, file_format
from nearnorm.models.engines.options import Address, Engine, EngineName, Workers, refuse_without_ray
from nearnorm.models.errors import ConfigError

if TYPE_CHECKING:
    from nearnorm.models.bundle.manifest import DataFacts, Reading
    from nearnorm.training.dataset.columns.infer import Finding
    from nearnorm.training.job import Prepared, TrainingJob, Watcher


AnomalyValue = Annotated[
    str | None,
    typer.Option(help="The label of an anomaly, such as fraud; else 1, true, yes."),
]
NormalValue = Annotated[
    str | None, typer.Option(help="The label of a confirmed normal; other rows are unlabelled then.")
]


OBJECTS = 50_000
"""New ones between two looks for garbage while a model is trained."""


class ProgressStyle(StrEnum):
    BAR = "bar"
    JSON = "json"
    OFF = "off"


def train(
    data: Annotated[str, typer.Argument(help="CSV or Parquet: a file, folder, quoted glob or s3:// URL.")],
    out: Annotated[Path, typer.Option(help="The folder for the bundle: new, empty, or a bundle.")],
    label_column: Annotated[
        str, typer.Option(help="Column with 1 (anomaly), 0 (normal) or nothing (unlabelled).")
    ] = "label",
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with tables \\[fit] and \\[schema.COLUMN].")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Tables \\[schema.COLUMN], as `nearnorm inspect --write` writes them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same data, config and seed give the same model.")] = 0,
    time_column: Annotated[
        str | None, typer.Option(help="Hold out the last rows by this column instead of random ones.")
    ] = None,
    held_out: Annotated[
        str | None, typer.Option(help="A labelled file that training never sees, measured in the report.")
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="A file, all of it labelled, by which a preset that stops early (paper) stops."),
    ] = None,
    unlabelled: Annotated[
        int | None,
        typer.Option(
            min=1_000,
            help="The most unlabelled rows that are kept; of more so many are drawn.  \\[default: 1,000,000]",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="A file of rows that are known to be normal: percentiles and the budget come from it."
        ),
    ] = None,
    anomaly_value: AnomalyValue = None,
    normal_value: NormalValue = None,
    engine: Engine = EngineName.LOCAL,
    address: Address = None,
    workers: Workers = None,
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
    progress: Annotated[
        ProgressStyle, typer.Option(help="A bar on stderr, a JSON object a line on stdout, or nothing.")
    ] = ProgressStyle.BAR,
) -> None:
    """Train a model on DATA and write its bundle."""
    from nearnorm.models.bundle.manifest import Draw
    from nearnorm.training.dataset.recipe import Recipe
    from nearnorm.training.job import TrainingJob, prepare

    refuse_without_ray(engine, address, workers)
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    reading = _reading(files, anomaly_value, normal_value)
    job = TrainingJob(
        source=data,
        out=out,
        recipe=Recipe.read(config, schema),
        label_column=label_column,
        time_column=time_column,
        held_out=held_out,
        validation=validation,
        reference=reference,
        seed=seed,
        reading=reading.model_copy(update={"draw": Draw(unlabelled=unlabelled, seed=seed)}),
    )
    with _rarely_collected(), _watcher(progress) as watcher:
        if engine is EngineName.RAY:
            prepared = _prepare_on_ray(job, watcher, address, workers)
        else:
            prepared = prepare(job, watcher)
        from nearnorm.training.pipeline import train_bundle  # seconds to import: after what can be refused

        bundle = train_bundle(prepared, watcher)
    if progress is ProgressStyle.JSON:
        _line(stage="done", progress=1.0, bundle=str(out), version=bundle.version)
    else:
        typer.echo(f"{out}: version {bundle.version}")


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """What a training loads is hundreds of thousands of objects that stay: to walk them for garbage again and
    again took half a second of its processor time."""
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def inspect(
    data: Annotated[str, typer.Argument(help="CSV or Parquet: a file, folder, quoted glob or s3:// URL.")],
    label_column: Annotated[str, typer.Option(help="Column of labels, which is no feature.")] = "label",
    schema: Annotated[
        Path | None, typer.Option(help="Tables \\[schema.COLUMN] with what is known already.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="A new file for the schema, to edit and to train by.")
    ] = None,
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
) -> None:
    """Show what each column of DATA is taken for, why, and what else it could be."""
    from nearnorm.models.bundle.manifest import Draw, Reading
    from nearnorm.models.data.files.parts import open_parts
    from nearnorm.training.dataset.columns.infer import infer_schema
    from nearnorm.training.dataset.columns.inspect import as_schema, as_table
    from nearnorm.training.dataset.lake.draw import keep
    from nearnorm.training.dataset.recipe import Recipe

    columns = Recipe.read(None, schema).columns
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    texts = [name for name, told in columns.items() if told.is_text]
    parts = open_parts(data, texts, files, _show_warning, [label_column, *columns])
    with _bar() as bar:
        kept = keep(parts.without(label_column), None, Reading(draw=Draw()), bar.rows)
    if kept.drawn_from is not None:
        typer.echo(
            f"{kept.drawn_from:,} rows; {kept.table.num_rows:,} of them, drawn, are looked at", err=True
        )
    with kept.told_apart():
        found = infer_schema(kept.table, columns, rows=kept.drawn_from)
    for line in as_table(found.findings):
        typer.echo(line)
    for warning in found.warnings:
        _show_warning(warning)
    if write is not None:
        _write_new(write, as_schema(found.findings, data))


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already: remove it, or name a new file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def evaluate(
    data: Annotated[str, typer.Argument(help="As for train, labelled.")],
    out: Annotated[Path, typer.Option(help="The folder for evaluation.html and evaluation.json.")],
    label_column: Annotated[
        str, typer.Option(help="Column with 1 (anomaly), 0 (normal) or nothing (unlabelled).")
    ] = "label",
    labels: Annotated[int, typer.Option(min=1, help="Labelled anomalies that each training gets.")] = 10,
    splits: Annotated[int, typer.Option(min=1, help="Random splits to train and judge on.")] = 3,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with tables \\[fit] and \\[schema.COLUMN].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same data and seed give the same splits.")] = 0,
    anomaly_value: AnomalyValue = None,
    normal_value: NormalValue = None,
    csv_separator: Separator = None,
    csv_encoding: Encoding = None,
    csv_decimal: Decimal = None,
    csv_quote: Quote = None,
) -> None:
    """Tell whether Nearnorm is worth it on DATA: it and the usual alternatives, judged alike."""
    from nearnorm.training.dataset.load import load
    from nearnorm.training.dataset.recipe import Recipe

    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file: give --out a folder")
    recipe = Recipe.read(config)
    files = file_format(csv_separator, csv_encoding, csv_decimal, csv_quote)
    reading = _reading(files, anomaly_value, normal_value)
    loaded = load(data, label_column, recipe.columns, reading=reading, labels_as_they_are=True)
    for warning in loaded.warnings:
        _show_warning(warning)
    with _bar() as bar:
        bar.step("evaluate", 0.0)
        from nearnorm.training.comparison.compare import hold_trial, verdict
        from nearnorm.training.comparison.report import trial_html, trial_json

        trial = hold_trial(loaded, recipe.fit, labels, splits, seed, lambda done: bar.step("evaluate", done))
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(trial_json(trial), indent=1), encoding="utf-8")
    (out / "evaluation.html").write_text(trial_html(trial, data, seed), encoding="utf-8")
    typer.echo(verdict(trial))
    typer.echo(str(out / "evaluation.html"))


def _reading(files: FileFormat, anomaly_value: str | None, normal_value: str | None) -> "Reading":
    from nearnorm.models.bundle.manifest import Reading

    if normal_value is not None and anomaly_value is None:
        raise ConfigError("--normal-value says what the labels' other word is: give --anomaly-value too")
    return Reading(files=files, anomaly_value=anomaly_value, normal_value=normal_value)


def _prepare_on_ray(
    job: "TrainingJob", watcher: "Watcher", address: str | None, workers: int | None
) -> "Prepared":
    from nearnorm.training.dataset.lake.on_ray import on_ray
    from nearnorm.training.job import prepare

    with on_ray(address, workers) as engine:
        prepared = prepare(job, watcher, engine)
    if prepared.data.facts.drawn_from is None:
        watcher.warning(
            f"all rows of {job.source} are kept, and so were read where the command runs: --engine ray reads "
            "data of which rows are drawn"
        )
    return prepared


@contextmanager
def _watcher(style: ProgressStyle) -> "Iterator[Watcher]":
    from nearnorm.training.job import Watcher

    if style is ProgressStyle.JSON:
        yield Watcher(
            step=lambda stage, done: _line(stage=stage, progress=round(done, 4)),
            schema=lambda schema: None,
            warning=lambda warning: _line(warning=warning),
            rows=lambda read, of: _line(stage="read", rows=read, of=of),
            drawn=lambda facts: _line(**_counts(facts)),
        )
    elif style is ProgressStyle.OFF:
        yield Watcher(lambda stage, done: None, _show_schema, _show_warning, drawn=_show_drawn)
    else:
        with _bar() as bar:
            yield Watcher(bar.step, _show_schema, _show_warning, bar.rows, _show_drawn)


class _Bar(NamedTuple):
    step: Callable[[str, float], None]
    rows: Callable[[int, int], None]


@contextmanager
def _bar() -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<9}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("read", total=1.0)
        yield _Bar(
            lambda stage, done: progress.update(task, total=1.0, completed=done, description=stage),
            lambda read, of: progress.update(
                task, total=of, completed=read, description=f"read {read:,} of {of:,} rows, each twice"
            ),
        )


def _show_schema(findings: "Sequence[Finding]") -> None:
    from nearnorm.training.dataset.columns.inspect import as_table

    for line in as_table(findings):
        typer.echo(line, err=True)


def _counts(facts: "DataFacts") -> dict[str, int]:
    """Of data from which rows were drawn: those that were read, that have a label, and that were drawn."""
    labelled = facts.anomalies + facts.normals
    return {"read": labelled + (facts.drawn_from or 0), "labelled": labelled, "drawn": facts.unlabelled}


def _show_drawn(facts: "DataFacts") -> None:
    counts = _counts(facts)
    typer.echo(
        f"{counts['read']:,} rows: {counts['labelled']:,} labelled, which are all kept, and "
        f"{counts['drawn']:,} drawn from the others",
        err=True,
    )


def _show_warning(warning: str) -> None:
    typer.secho(f"warning: {warning}", fg="yellow", err=True)


def _line(**event: object) -> None:
    typer.echo(json.dumps(event))
