"""Names of what came by a message: the same whenever it is read."""


def message_name(topic: str, partition: int, offset: int) -> str:
    """A message's, and so the event_id of its answer."""
    return f"{topic}:{partition}:{offset}"


def row_name(message: str, row: int) -> str:
    """The event_id of a row of a message that holds several."""
    return f"{message}:{row}"
