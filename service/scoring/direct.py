"""A request to /score without ASGI (see http/connection/fast_path): what it waits for calls it back."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from nearnorm.service.errors import ColdModel, Overloaded
from nearnorm.service.http.body import JSON, Headers, check_size
from nearnorm.service.http.connection.fast_path import Reply
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.bulk.requests import Body, BulkAnswer
from nearnorm.service.scoring.explain import Explanation
from nearnorm.service.scoring.long_bodies import SHORT_BYTES, takes_long
from nearnorm.service.scoring.named_line import line_in
from nearnorm.service.scoring.problems import error_answer
from nearnorm.service.scoring.rows import whole
from nearnorm.service.scoring.steps import ScoreSteps
from nearnorm.service.serving.batcher import Entry
from nearnorm.service.serving.explaining import ScoredRows
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.results import Scores
from nearnorm.service.verdict.reasons import Explained


class DirectScore:
    """One request without ASGI. It is answered once, whatever happens."""

    __slots__ = ("_asked", "_caller", "_entry", "_headers", "_reply", "_started", "_steps", "_task")

    def __init__(self, steps: ScoreSteps, headers: Headers, size: int, reply: Reply) -> None:
        self._started = time.perf_counter()
        self._steps, self._headers, self._reply = steps, headers, reply
        self._task: asyncio.Task[Any] | None = None
        self._entry: Entry[Rows, Scores] | Entry[ScoredRows, list[Explained]] | None = None
        try:
            steps.check_site(headers)
            self._caller, most = steps.admit(headers)
            check_size(size, most)
            steps.check_room(self._caller.name)
        except Exception as error:
            self._end(*error_answer(error, headers))

    def read(self, body: bytes) -> str | None:
        """The line whose queue is full: the request was refused for that, and nothing of it was read."""
        steps = self._steps
        if not steps.has_lines:
            self._read(body)
            return None
        line = steps.line_of(line_in(body), self._caller.lines)
        if self._is_refused(line):
            return line
        if steps.lanes.shared:
            steps.lanes.put(line, lambda: self._read_in_turn(line, body), long=len(body) > SHORT_BYTES)
        else:
            self._read(body)
        return None

    def _read_in_turn(self, line: str, body: bytes) -> None:
        if not self._is_refused(line):
            self._read(body)

    def _is_refused(self, line: str) -> bool:
        try:
            self._steps.check_room_in(line, self._caller)
        except Overloaded as full:
            self._end(*error_answer(full, self._headers))
            return True
        return False

    def _read(self, body: bytes) -> None:
        try:
            model, request = self._steps.decode(body, self._caller.lines)
        except ColdModel:
            self._task = asyncio.ensure_future(self._steps.decoded(body, self._caller.lines))
            self._task.add_done_callback(partial(self._decoded, body))
        except Exception as error:
            self._end(*error_answer(error, self._headers))
        else:
            self._go_on(body, model, request)

    def _decoded(self, body: bytes, task: "asyncio.Task[tuple[LoadedModel, Envelope]]") -> None:
        self._task = None
        if task.cancelled():
            return
        try:
            model, request = task.result()
        except Exception as error:
            self._end(*error_answer(error, self._headers))
            return
        self._go_on(body, model, request)

    def _go_on(self, body: bytes, model: LoadedModel, request: Envelope) -> None:
        try:
            if takes_long(request, len(body)):
                answer = asyncio.ensure_future(self._steps.bulk.answer(Body(body), self._caller))
                answer.add_done_callback(self._answered)
                self._task = answer
                return
            encoded = model.encoder.encode(request)
        except Exception as error:
            self._end(*error_answer(error, self._headers))
            return
        self._take(model, request, encoded)

    def _answered(self, task: "asyncio.Task[BulkAnswer]") -> None:
        self._task = None
        if task.cancelled():
            return
        try:
            payload = task.result().payload
        except Exception as error:
            self._end(*error_answer(error, self._headers))
            return
        self._end(200, [(b"content-type", JSON)], payload)

    def _take(self, model: LoadedModel, request: Envelope, encoded: Encoded) -> None:
        try:
            self._asked = self._steps.asked(model, request, encoded, self._caller)
            if len(encoded.rows):
                self._entry = model.batcher.put(encoded.rows, self._scored, self._caller.name)
                return
        except Exception as error:
            self._end(*error_answer(error, self._headers))
            return
        self._scored([])

    def gone(self) -> None:
        if self._task is not None:
            self._task.cancel()
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.withdraw()

    def _scored(self, outcome: list[Scores] | Exception) -> None:
        self._entry = None
        try:
            if isinstance(outcome, Exception):
                raise outcome
            asked = self._asked
            scores = whole(asked.encoded, outcome)
            if asked.request.explain and scores is not None:
                self._explain(outcome, scores)
                return
            payload = self._steps.answer(asked, outcome, scores)
        except Exception as error:
            self._end(*error_answer(error, self._headers))
            return
        self._end(200, [(b"content-type", JSON)], payload)

    def _explain(self, parts: Sequence[Scores], scores: Scores) -> None:
        """Answer once the lane for explanations has come to it."""
        asked, explanation = self._asked, Explanation.of(scores)

        def explained(outcome: list[list[Explained]] | Exception) -> None:
            self._entry = None
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                reasons = explanation.reasons(asked.model, asked.encoded, outcome)
                payload = self._steps.answer(asked, parts, scores, reasons)
            except Exception as error:
                self._end(*error_answer(error, self._headers))
                return
            self._end(200, [(b"content-type", JSON)], payload)

        self._entry = asked.model.explaining.put(explanation.scored, explained, asked.caller)

    def _end(self, status: int, headers: Headers, payload: bytes) -> None:
        self._reply(status, headers, payload)
        self._steps.count(status, time.perf_counter() - self._started)
