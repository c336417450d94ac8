"""What a streamer is told: where the brokers are, and which topics it reads and writes."""

import re
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from nearnorm.models.errors import ConfigError

Delivery = Literal["auto", "exactly-once", "at-least-once"]
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


class StreamOptions(Struct, frozen=True):
    """`delivery`: auto takes transactions where the brokers have them. `group` is the consumers' group, and
    `instance` who we are in it, where it is always the same."""

    brokers: str
    records: str
    answers: str
    verdicts: str | None = None
    dead_letters: str | None = None
    group: str = "nearnorm"
    model: str = "default"
    instance: str | None = None
    delivery: Delivery = "auto"


def options_of(told: dict[str, str | None]) -> StreamOptions:
    """Raises ConfigError for options that do not go together."""
    if told["delivery"] not in get_args(Delivery):
        raise ConfigError(f"--delivery {told['delivery']}: say one of {', '.join(get_args(Delivery))}")
    for name in ("brokers", "group", "model", "instance"):
        if (given := told.get(name)) is not None and not given.strip():
            raise ConfigError(f"--{name} is empty: name one, or leave it out")
    topics = [told[name] for name in ("records", "answers", "verdicts", "dead_letters") if told[name]]
    for topic in topics:
        if not _TOPIC.fullmatch(str(topic)):
            raise ConfigError(f"{topic!r} is no topic: letters, digits and . _ - are")
        if topics.count(topic) > 1:
            raise ConfigError(f"the topic {topic!r} is named twice: each has one purpose")
    return msgspec.convert(told, StreamOptions)
