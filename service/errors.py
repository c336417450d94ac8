"""What can go wrong in a request, each with one status and one stable type.

ServiceError
├── MalformedRequest     400  not HTTP
├── MalformedBody        400  not JSON, not Arrow, not what its content encoding says
├── InvalidRequest       422  a field of the request that does not fit
├── Unauthorized         401  no key, or one that is unknown or revoked; a session that has ended
├── Forbidden            403  a key without the role
├── CrossSiteRequest     403  a write from a page of another site
├── WrongCsrfToken       403  a write by a session without the token that its pages have
├── RequestTimeout       408  not whole in time
├── BodyTooLarge         413
├── TooManyRows          413
├── MisdirectedRequest   421  a Host that is no name of this service
├── HeadersTooLarge      431
├── UnsupportedMedia     415  a content type or encoding that nobody here reads
├── NotFound             404
├── MethodNotAllowed     405
├── UnknownModel         404
├── Conflict             409  what is asked does not go with what is there
├── Overloaded           429  with Retry-After
├── RateLimited          429  a key's own limit, or that of callers without one; with Retry-After
├── TooManyConnections   429  with Retry-After
├── TooManyLabels        429  more than one analyst may send in an hour, with Retry-After
├── NoModel              503  nothing to score with yet, or a model that cannot be loaded
│   └── ColdModel        503  not in memory, asked for by who cannot wait
├── StoreUnavailable     503  the model store cannot be read or written now
├── LedgerUnavailable    503  nothing is known to be stored: send it again
├── ProviderUnavailable  503  the identity provider cannot be asked now
├── DeadlineExceeded     503
└── InternalError        500  a mistake of ours
"""

from http import HTTPStatus

import msgspec

PROBLEM = "application/problem+json"
MOST_REPEATED = 200
"""Characters of what a caller sent that an error repeats."""
TYPE_PREFIX = "urn:nearnorm:problem:"


class ServiceError(Exception):
    """The message is the problem's `detail`: what is wrong, where, and the mend."""

    status: int
    name: str
    title: str

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        errors: list[dict[str, object]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.errors = errors
        self.headers = headers or {}


class MalformedRequest(ServiceError):
    status, name, title = 400, "malformed-request", "The request cannot be read"


class MalformedBody(ServiceError):
    status, name, title = 400, "malformed-body", "The body cannot be read"


class InvalidRequest(ServiceError):
    status, name, title = 422, "invalid-request", "The request does not fit"


class Unauthorized(ServiceError):
    status, name, title = 401, "unauthorized", "A valid API key is needed"


class Forbidden(ServiceError):
    status, name, title = 403, "forbidden", "The API key lacks the role"


class CrossSiteRequest(ServiceError):
    status, name, title = 403, "cross-site-request", "A page of another site may not do this"


class WrongCsrfToken(ServiceError):
    status, name, title = 403, "csrf-token", "The session's token is missing or wrong"


class MisdirectedRequest(ServiceError):
    status, name, title = 421, "misdirected-request", "The Host is not this service's"


class RequestTimeout(ServiceError):
    status, name, title = 408, "request-timeout", "The request did not come in time"


class BodyTooLarge(ServiceError):
    status, name, title = 413, "body-too-large", "The body is too large"


class TooManyRows(ServiceError):
    status, name, title = 413, "too-many-rows", "Too many rows in one request"


class HeadersTooLarge(ServiceError):
    status, name, title = 431, "headers-too-large", "The head of the request is too large"


class UnsupportedMedia(ServiceError):
    status, name, title = 415, "unsupported-media-type", "The content type is not supported"


class NotFound(ServiceError):
    status, name, title = 404, "not-found", "There is nothing here"


class MethodNotAllowed(ServiceError):
    status, name, title = 405, "method-not-allowed", "The method is not allowed"


class UnknownModel(ServiceError):
    status, name, title = 404, "unknown-model", "No such model"


class Conflict(ServiceError):
    status, name, title = 409, "conflict", "The request conflicts with what is there"


class Overloaded(ServiceError):
    status, name, title = 429, "overloaded", "The queue is full"


class RateLimited(ServiceError):
    status, name, title = 429, "rate-limited", "More than the caller's limit"


class TooManyConnections(ServiceError):
    status, name, title = 429, "too-many-connections", "Too many connections are open"


class TooManyLabels(ServiceError):
    status, name, title = 429, "too-many-labels", "The analyst sends too many labels"


class NoModel(ServiceError):
    status, name, title = 503, "no-model", "No model is loaded"


class ColdModel(NoModel):
    """The model of a line that serves, and is not in memory: whoever can waits until it is loaded."""

    def __init__(self, model: str) -> None:
        super().__init__(f"model {model!r} is being loaded: try again", headers={"Retry-After": "1"})
        self.model = model


class StoreUnavailable(ServiceError):
    status, name, title = 503, "store-unavailable", "The model store cannot be reached or written now"


class LedgerUnavailable(ServiceError):
    """`logged` is for the log and the terminal: it may name hosts and files, as no answer does."""

    status, name, title = 503, "ledger-unavailable", "The ledger cannot be reached or written now"

    def __init__(
        self, detail: str, *, logged: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail, headers=headers)
        self._logged = logged or detail

    def __str__(self) -> str:
        return self._logged


class ProviderUnavailable(ServiceError):
    status, name, title = 503, "provider-unavailable", "The identity provider cannot be asked now"


class DeadlineExceeded(ServiceError):
    status, name, title = 503, "deadline-exceeded", "The answer would have come too late"


class InternalError(ServiceError):
    status, name, title = 500, "internal-error", "The service made a mistake"


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457. `field` and `errors` name what to mend."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    errors: list[dict[str, object]] | None = None


def problem_of(error: ServiceError) -> Problem:
    return Problem(
        TYPE_PREFIX + error.name, error.title, error.status, error.detail, error.field, error.errors
    )


def problem_body(error: ServiceError) -> bytes:
    return msgspec.json.encode(problem_of(error))


def problem_response(error: ServiceError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body that tell of an error."""
    headers = [(b"content-type", PROBLEM.encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return error.status, headers, problem_body(error)


def raw_response(error: ServiceError, *more: tuple[bytes, bytes]) -> bytes:
    """The whole answer as it goes over the connection, for what was not read as a request."""
    status, headers, body = problem_response(error)
    lines = [b"HTTP/1.1 %d %s" % (status, error.title.encode())]
    lines += [b"%s: %s" % header for header in (*headers, (b"content-length", b"%d" % len(body)), *more)]
    return b"\r\n".join([*lines, b"", body])


def of_status(status: int, detail: str, headers: dict[str, str] | None = None) -> ServiceError:
    """The error for a bare HTTP status, as routing raises it."""
    if status == 404:
        return NotFound("no such route: see /openapi.json")
    if status == 405:
        allowed = (headers or {}).get("Allow", "")
        return MethodNotAllowed(f"this route answers {allowed}", headers=headers)
    error = InvalidRequest(detail or HTTPStatus(status).phrase, headers=headers)
    error.status = status
    return error


def misfit(error: msgspec.ValidationError, what: str = "the body") -> tuple[str, str | None]:
    """msgspec's words for what does not fit, as a sentence about a field or about `what`; and the field."""
    message, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".") or None
    if len(message) > MOST_REPEATED:
        message = message[: MOST_REPEATED - 1] + "…"
    return f"{field or what}: {message}", field
