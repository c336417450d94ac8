"""Codecs: modules that read one kind of body into rows, and write the answer to it.

They are imported by name, in the service and in its bulk process: pyarrow is an extra and slow to import,
and other protocols stand above this room.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from nearnorm.service.errors import UnsupportedMedia
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.results import Scores

ARROW_CODEC = "nearnorm.service.scoring.arrow"
LINES_CODEC = "nearnorm.service.scoring.json_lines"


Write = Callable[[ModelFacts, Any, Encoded, Scores | None, Remembered, Reasons | None], bytes]
"""Codec.write, and what writes JSON."""


class BodyOptions(Protocol):
    """What a body asks for beside scores."""

    explain: bool


class Codec(Protocol):
    """A module; what it makes of a body goes to the bulk process and back, and is pickled for that."""

    def read(self, body: bytes, encoder: Encoder) -> tuple[BodyOptions, Encoded]:
        """What is asked for, and the rows. Raises ServiceError."""

    def write(
        self,
        facts: ModelFacts,
        asked: Any,  # noqa: ANN401 - its own, as `read` gave it
        encoded: Encoded,
        scores: Scores | None,
        noted: Remembered,
        reasons: Reasons | None,
    ) -> bytes:
        """The answer. `scores` has one for each of the rows without an error; None: there are none."""


def import_codec(name: str) -> Codec:
    """Raises UnsupportedMedia where what it needs is not installed."""
    try:
        codec: Any = import_module(name)
    except ModuleNotFoundError:
        raise UnsupportedMedia("Arrow is not read here: install the extra arrow") from None
    return codec  # type: ignore[no-any-return]
