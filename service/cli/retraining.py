"""Commands of the loop: a worker, a retraining asked for by hand, logged traffic through another model."""

import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from nearnorm.models.errors import NearnormError
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.cli.keys import in_ledger, user, written
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables.jobs import ENDED
from nearnorm.service.retraining import requests
from nearnorm.service.retraining.requests import Rule
from nearnorm.service.settings import load_settings

LOOK = 0.5  # seconds


def worker(
    beside: Annotated[bool, typer.Option(hidden=True, help="End when stdin does.")] = False,
) -> None:
    """Run retraining jobs until told to stop. `nearnorm serve` starts one beside itself."""
    from nearnorm.service.logs import configure_logs
    from nearnorm.service.process.worker_supervisor import end_with_stdin
    from nearnorm.service.retraining.worker import Worker
    from nearnorm.service.serving.malloc import share_heap

    share_heap()
    configure_logs()
    working = Worker(load_settings())
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, frame: working.stop())
    if beside:
        end_with_stdin(working.stop)
    working.run()


def retrain(
    model: Annotated[str, typer.Option(help="The model to retrain.")] = DEFAULT_MODEL,
    wait: Annotated[bool, typer.Option(help="Stay until it has ended, and tell its stages.")] = False,
) -> None:
    """Ask for a retraining with the labels there are. Prints the job's id first."""
    rule = Rule.of(load_settings())
    job = in_ledger(lambda ledger: written(ledger, lambda c: requests.request(c, model, rule, user())))
    typer.echo(job.job_id)
    shown = ""
    while wait:
        now, waits = in_ledger(
            lambda ledger: written(
                ledger,
                lambda c: (found := requests.find(c, job.job_id, EVERY_LINE), requests.waits_for(c, found)),
            )
        )
        line = f"{now.state} {now.stage} {now.progress:.0%}" if waits is None else f"waits for {waits}"
        if line != shown:
            typer.echo(line, err=True)
            shown = line
        if now.state in ENDED:
            for reason in now.reasons:
                typer.echo(reason, err=True)
            if now.state != "succeeded":
                raise NearnormError(f"job {job.job_id}: {now.state}")
            break
        time.sleep(LOOK)


def replay(
    version: Annotated[str, typer.Argument(help="A version in the store, or the beginning of one.")],
    out: Annotated[Path, typer.Option(help="Where the differences go: a .csv or .parquet file.")],
    model: Annotated[str, typer.Option(help="Whose logged traffic.")] = DEFAULT_MODEL,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many events.")] = 10_000,
) -> None:
    """Score logged traffic by another version: what it said then, and what this one says, row by row."""
    from nearnorm.service.retraining.replay import replay_events

    settings = load_settings()
    changed, rows = in_ledger(lambda ledger: replay_events(ledger, settings, version, out, model, limit))
    typer.echo(f"{out}: {rows} events, {changed} with another verdict")
