"""The steps of a request to /score, however it comes: let in, read, counted, remembered, answered."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct, UnsetType
from starlette.types import Receive, Scope

from nearnorm.models.store.folder import DEFAULT_MODEL
from nearnorm.service.access.keyring import Caller, Keyring
from nearnorm.service.errors import ColdModel, UnknownModel
from nearnorm.service.http.body import Headers
from nearnorm.service.http.middleware.cross_site import CrossSiteRules
from nearnorm.service.http.middleware.request_log import SERVED
from nearnorm.service.ledger.seen_lines import SeenLines
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.records.encoded import Encoded
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.answer_parts import Reasons
from nearnorm.service.scoring.bulk.requests import Body, BulkRequests
from nearnorm.service.scoring.codec import BodyOptions, Write
from nearnorm.service.scoring.json_answer import answered
from nearnorm.service.scoring.long_bodies import SHORT_BYTES
from nearnorm.service.scoring.named_line import ENDS
from nearnorm.service.scoring.problems import PATH
from nearnorm.service.scoring.remember import Memory
from nearnorm.service.scoring.rows import counted, explained, remembered, scored_rows, whole
from nearnorm.service.serving.batcher import overloaded
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry
from nearnorm.service.serving.results import Scores

_NAMING = b'"model"'


class _Named(Struct):
    """All that is read of a body, to know by whose schema it is to be read."""

    model: str = DEFAULT_MODEL


_read_name = msgspec.json.Decoder(_Named).decode


class Asked(Struct, eq=False):
    """What a JSON body asks for."""

    model: LoadedModel
    request: Envelope
    encoded: Encoded
    caller: str


class ScoreSteps:
    """What a request that is awaited and one that is called back have in common."""

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        rules: CrossSiteRules,
        memory: Memory,
        most_bytes: int,
        metrics: Metrics,
        bulk: BulkRequests,
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self.check_site = rules.check_plain  # of what comes without ASGI
        self._memory = memory
        self._max_body = most_bytes
        self._metrics = metrics
        self.bulk = bulk
        self.lanes = registry.lanes

    def count(self, status: int, seconds: float) -> None:
        self._metrics.request("POST", PATH, status, seconds)

    def admit(self, headers: Headers) -> tuple[Caller, int]:
        """Who sends it, and how large a body he may send."""
        caller, most = self._keyring.admit(headers, "score"), self._max_body
        if caller.meter is not None:
            caller.meter.rows(0)  # who is over it already is refused before anything is read
            most = caller.meter.body_bytes(most)
        return caller, most

    def check_room(self, caller: str) -> None:
        """Raises Overloaded before the body is read: what is refused must cost little."""
        if self._registry.is_full_for(caller):
            raise overloaded()

    def decode(
        self, body: bytes, lines: SeenLines, likely: LoadedModel | None = None
    ) -> tuple[LoadedModel, Envelope]:
        """The request by the schema of the model that it names, one that is seen, and that model; `likely` is
        tried first.

        Raises ColdModel where it is not in memory."""
        named = _NAMING in body[:ENDS] or _NAMING in body[-ENDS:]
        model = likely or (self._named(body, lines) if named else self._registry.first(lines))
        request = model.encoder.decode(body)
        if request.model != model.ref.name:
            model = self._registry.get(request.model, lines)
            request = model.encoder.decode(body)
        return model, request

    async def decoded(self, body: bytes, lines: SeenLines) -> tuple[LoadedModel, Envelope]:
        """`decode`, once its model is in memory."""
        model = None
        while True:
            try:
                return self.decode(body, lines, model)
            except ColdModel as cold:
                model = await self._registry.bring(cold.model, lines)

    def _named(self, body: bytes, lines: SeenLines) -> LoadedModel:
        """The model that a body names, where it can be told before it is read by its schema: to read it by
        another one's first takes several times as long."""
        try:
            return self._registry.get(_read_name(body).model, lines)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UnknownModel):
            return self._registry.first(lines)  # who reads it by any schema says what is wrong with it

    @property
    def has_lines(self) -> bool:
        """Whether there are several: their requests take turns, and the queue of one may be full."""
        return self._registry.has_lines

    def line_of(self, named: str | None, lines: SeenLines) -> str:
        """The line that a request means, by the one that it names, if there is one that is seen."""
        if named is not None and self._registry.serves(named, lines):
            return named
        return self._registry.first_line(lines) or DEFAULT_MODEL

    async def take_turn(self, line: str, caller: Caller, size: int) -> None:
        """Wait until a body of a line may be read. Raises Overloaded where the line's queue is full."""
        if self.lanes.shared:
            await self.lanes.turn(line, long=size > SHORT_BYTES)
        self.check_room_in(line, caller)

    def check_room_in(self, line: str, caller: Caller) -> None:
        """Raises Overloaded before a body is read whose line has a full queue."""
        if self._registry.is_line_full_for(line, caller.name) and caller.lines.sees(line):
            raise overloaded()

    def asked(self, model: LoadedModel, request: Envelope, encoded: Encoded, caller: Caller) -> Asked:
        """What is to be scored. Raises RateLimited."""
        self.lanes.asked(model.ref.name)
        empty(request)
        counted(model, encoded.count, len(encoded.errors), caller.meter)
        return Asked(model, request, encoded, caller.name)

    def answer(
        self,
        asked: Asked,
        parts: Sequence[Scores],
        scores: Scores | None,
        reasons: Reasons | None = None,
    ) -> bytes:
        """The answer's JSON. `scores` are all `parts`; None: no row has any."""
        model, request, encoded = asked.model, asked.request, asked.encoded
        noted = remembered(self._memory, model, encoded, scores, parts, asked.caller)
        return answered(model.facts, request, encoded, scores, noted, reasons)

    async def answer_rows(
        self,
        scope: Scope,
        model: LoadedModel,
        options: BodyOptions,
        encoded: Encoded,
        write: Write,
        caller: Caller,
        receive: Receive,
    ) -> bytes:
        """Rows that were read in the event loop, of whatever body; `write` writes the answer.

        Raises RateLimited, ClientGoneError and what `write` does."""
        self.lanes.asked(model.ref.name)
        counted(model, encoded.count, len(encoded.errors), caller.meter)
        parts = await scored_rows(model, encoded, caller.name, receive)
        scores = whole(encoded, parts)
        reasons = await explained(model, encoded, scores, caller.name) if options.explain else None
        noted = remembered(self._memory, model, encoded, scores, parts, caller.name)
        scope[SERVED] = model.ref.version, noted.event_ids.values()
        return write(model.facts, options, encoded, scores, noted, reasons)

    async def answer_bulk(self, scope: Scope, body: Body, caller: Caller, receive: Receive) -> bytes:
        """What takes long is read and written in the bulk process."""
        answer = await self.bulk.answer(body, caller, receive)
        scope[SERVED] = answer.version, answer.event_ids
        return answer.payload


def empty(request: Envelope) -> None:
    """What was sent is in the arrays: the next request is decoded into the same memory."""
    if not isinstance(request.records, UnsetType):
        request.records = []
    if not isinstance(request.columns, UnsetType):
        request.columns = {}
