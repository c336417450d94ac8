"""What a caller of the scoring routes is told of an error."""

from nearnorm.service.errors import InternalError, ServiceError, problem_response
from nearnorm.service.http.body import Headers
from nearnorm.service.http.middleware.request_log import request_ids
from nearnorm.service.logs import log

PATH = "/score"


def error_answer(error: Exception, headers: Headers) -> tuple[int, Headers, bytes]:
    """Status, headers and body of an error."""
    return problem_response(to_service_error(error, PATH, headers))


def to_service_error(error: Exception, path: str, headers: Headers) -> ServiceError:
    """What a caller is told of an error; mistakes of ours are logged."""
    if not isinstance(error, ServiceError):
        log.error("request failed", path=path, exc_info=error, **request_ids(headers))
        return InternalError("see the service's log")
    if error.__cause__ is not None:
        log.error("batch failed", exc_info=error.__cause__, **request_ids(headers))
    return error
