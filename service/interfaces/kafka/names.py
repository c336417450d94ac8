"""Names of what came by a message: the same whenever it is read."""


def message_name(topic: str, partition: int, offset: int) -> str:
    """A message's, and so the event_id of its answer."""
    return f"{topic}:{partition}:{offset}"


def row_names(message: str, rows: int) -> list[str]:
    """The event_ids of the rows of a message that holds several."""
    return [f"{message}:{row}" for row in range(rows)]
