"""Commands of the loop: a worker, a retraining asked for by hand, logged traffic through another model."""

import signal
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from nearnorm.models.errors import ConfigError, NearnormError
from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.cli.keys import in_ledger, user, written
from nearnorm.service.cli.lines import check_served
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.ledger.tables.jobs import ENDED
from nearnorm.service.retraining.jobs import requests
from nearnorm.service.retraining.jobs.requests import Rule
from nearnorm.service.settings import load_settings

LOOK = 0.5  # seconds


def worker(
    beside: Annotated[bool, typer.Option(hidden=True, help="End when stdin does.")] = False,
) -> None:
    """Run retraining jobs until told to stop. `nearnorm serve` starts one beside itself."""
    from nearnorm.service.logs import configure_logs
    from nearnorm.service.process.worker_supervisor import end_with_stdin
    from nearnorm.service.retraining.worker import Worker
    from nearnorm.service.serving.memory.malloc import share_heap

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
    settings = load_settings()
    check_served(settings.open_store(), model)
    rule = Rule.of(settings)
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
    out: Annotated[
        Path | None, typer.Option(help="Where the rows go, old beside new: a .csv or .parquet file.")
    ] = None,
    model: Annotated[str, typer.Option(help="Whose logged traffic.")] = DEFAULT_MODEL,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many events, or messages.")] = 10_000,
    brokers: Annotated[
        str | None, typer.Option(help="Take a topic, not the event log: Kafka's brokers, HOST:PORT.")
    ] = None,
    records: Annotated[str | None, typer.Option("--in", help="The topic of records.")] = None,
    answered: Annotated[
        str | None, typer.Option(help="The topic that `nearnorm stream` answered them on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The counts and flips as JSON.")] = False,
) -> None:
    """What another version would say of traffic that was answered already, before it serves: alerts up and
    down, and the confirmed records whose verdict changes. Changes nothing."""
    from nearnorm.service.cli.replay_table import table
    from nearnorm.service.retraining.rescoring.replay import check_out, replay_events, report, write_rows

    if out is not None:
        check_out(out)
    settings = load_settings()
    check_served(settings.open_store(), model)
    topic = (brokers, records, answered)
    if any(topic) and not all(topic):
        raise ConfigError("--brokers, --in and --answered go together: a topic and where its answers are")
    if brokers and records and answered:
        from nearnorm.service.interfaces.kafka.replay import ReplayTopics, replay_topic

        topics = ReplayTopics(brokers, records, answered)
        replayed = in_ledger(lambda ledger: replay_topic(ledger, settings, version, topics, model, limit))
    else:
        replayed = in_ledger(lambda ledger: replay_events(ledger, settings, version, model, limit))
    if out is not None:
        write_rows(replayed, out)
    found = report(replayed)
    typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else table(found))
