"""The protocol's routes, in front of all others as /score is: their rows go through the same core."""

import time

import msgspec
from starlette.types import Receive, Scope, Send

from nearnorm.service.access.keyring import Keyring
from nearnorm.service.errors import MethodNotAllowed, NotFound, UnsupportedMedia
from nearnorm.service.http.body import (
    JSON,
    ClientGoneError,
    Headers,
    check_size,
    kind_of,
    read_body,
    size_of_body,
)
from nearnorm.service.http.middleware.cross_site import CrossSiteRules
from nearnorm.service.http.middleware.query import query_of
from nearnorm.service.interfaces.open_inference import codec, metadata, shapes, tensors
from nearnorm.service.interfaces.open_inference.paths import Target, target_of
from nearnorm.service.interfaces.open_inference.plain_numbers import decode_plain
from nearnorm.service.interfaces.open_inference.problems import error_response
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.scoring.bulk.requests import Body
from nearnorm.service.scoring.long_bodies import INLINE_LOOSE_BYTES, INLINE_ROWS
from nearnorm.service.scoring.problems import to_service_error
from nearnorm.service.scoring.steps import ScoreSteps
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.serving.registry import Registry

_encode = msgspec.json.Encoder().encode
_Answer = tuple[int, msgspec.Struct]


class OpenInference:
    """An ASGI application for all paths below /v2.

    Whoever sees /readyz sees health and readiness here, and of as many models; what a model reads wants a key
    of any role, where keys are needed, and scoring one that may score. `steps` are those of /score.
    """

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        rules: CrossSiteRules,
        metrics: Metrics,
        steps: ScoreSteps,
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._rules = rules
        self._metrics = metrics
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        target = target_of(scope["path"])
        headers: Headers
        try:
            status, payload = await self._answer(target, scope, receive)
            headers = [(b"content-type", JSON)]
        except ClientGoneError:
            return
        except Exception as error:
            status, headers, payload = error_response(
                to_service_error(error, scope["path"], scope["headers"])
            )
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})  # of HEAD, the server leaves it out
        route = target.route if target else "unmatched"
        self._metrics.request(scope["method"], route, status, time.perf_counter() - started)

    async def _answer(self, target: Target | None, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        self._rules.check(scope)
        if target is None:
            raise NotFound("the protocol has no such route: see /openapi.json")
        allowed = ("POST",) if target.operation == "infer" else ("GET", "HEAD")
        if scope["method"] not in allowed:
            verbs = ", ".join(allowed)
            raise MethodNotAllowed(f"this route answers {verbs}", headers={"Allow": verbs})
        if target.operation == "infer":
            return 200, await self._infer(target, scope, receive)
        status, found = await self._describe(target, scope["headers"])
        if target.operation not in ("live", "ready"):
            query_of(scope["query_string"].decode("latin-1"), ())
        return status, _encode(found)

    async def _describe(self, target: Target, headers: Headers) -> _Answer:
        """What is asked without rows. Raises Unauthorized, RateLimited, UnknownModel, NoModel,
        DeadlineExceeded."""
        lines = self._keyring.lines_told(headers)
        serving = self._registry.serving()
        match target.operation:
            case "server":
                return 200, metadata.server()
            case "live":
                return 200, shapes.Live(True)
            case "ready":
                return (200 if serving else 503), shapes.Ready(bool(serving))
            case "model-ready":
                self._registry.check_serves(target.model, lines, target.version)
                return 200, shapes.ModelReady(target.model, True)
            case "models":
                self._keyring.admit(headers, None)
                return 200, shapes.ModelNames(sorted(filter(lines.sees, serving)))
            case _:
                self._keyring.admit(headers, None)
                model = await self._registry.bring(target.model, lines, target.version)
                return 200, metadata.of_model(model)

    async def _infer(self, target: Target, scope: Scope, receive: Receive) -> bytes:
        """What is refused is so before it is read, where that can be."""
        headers: Headers = scope["headers"]
        caller, most = self._steps.admit(headers)
        kind = kind_of(headers)
        if kind.content != JSON:
            raise UnsupportedMedia(f"this route reads {JSON.decode()}")
        check_size(size_of_body(headers), most)
        query_of(scope["query_string"].decode("latin-1"), ())
        self._steps.check_room(caller.name)
        model = await self._registry.bring(target.model, caller.lines, target.version)
        body = await read_body(receive, kind, most)
        await self._steps.take_turn(model.ref.name, caller, len(body))
        request = _read_at_once(body, model)
        if request is None:
            sent = Body(body, codec.__name__, target.model, version=target.version)
            return await self._steps.answer_bulk(scope, sent, caller, receive)
        asked, encoded = codec.encoded(request, model.encoder)
        return await self._steps.answer_rows(scope, model, asked, encoded, codec.write, caller, receive)


def _read_at_once(body: bytes, model: LoadedModel) -> shapes.InferRequest | None:
    """A body that takes no longer than others may wait for it; None: it is for the bulk process.

    Numbers are read in bulk only where the model knows nothing else: a column of another kind would be looked
    at cell by cell."""
    request = decode_plain(body) if tensors.has_only_numbers(model.encoder.schema) else None
    if request is None and len(body) <= INLINE_LOOSE_BYTES:
        request = tensors.decode(body)
    return request if request is not None and tensors.rows_of(request) <= INLINE_ROWS else None
