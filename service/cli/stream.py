"""`nearnorm stream`: records from a topic, answers to another."""

from typing import Annotated

import typer

from nearnorm.service.settings import load_settings


def stream(
    brokers: Annotated[str, typer.Option(help="Kafka's brokers, HOST:PORT with commas between them.")],
    records: Annotated[str, typer.Option("--in", help="The topic of records.")],
    answers: Annotated[str, typer.Option("--out", help="The topic that answers go to.")],
    verdicts: Annotated[str | None, typer.Option(help="A topic whose labels are taken as feedback.")] = None,
    dead_letters: Annotated[
        str | None,
        typer.Option(help="Where messages go that cannot be read; default: they are answered with an error."),
    ] = None,
    group: Annotated[
        str, typer.Option(help="The consumers' group: streamers of one group share the partitions.")
    ] = "nearnorm",
    instance: Annotated[
        str | None,
        typer.Option(help="This streamer's lasting name in the group: started again, it goes on at once."),
    ] = None,
    model: Annotated[str, typer.Option(help="The model that scores.")] = "default",
    delivery: Annotated[
        str,
        typer.Option(
            help="auto, exactly-once or at-least-once; auto takes transactions where brokers have them."
        ),
    ] = "auto",
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="Port of /healthz, /readyz and /metrics; 0: a free one."),
    ] = 8001,
) -> None:
    """Score what comes by a Kafka topic until told to stop, by the model and the policy in force."""
    from nearnorm.service.interfaces.kafka.options import options_of
    from nearnorm.service.process.stream import run

    told = {
        "brokers": brokers,
        "records": records,
        "answers": answers,
        "verdicts": verdicts,
        "dead_letters": dead_letters,
        "group": group,
        "instance": instance,
        "model": model,
        "delivery": delivery,
    }
    run(load_settings(), options_of(told), port)
