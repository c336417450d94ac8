"""Errors as the protocol has them, `{"error": ...}`, and with the fields of our problems beside it.

The content type is plain JSON, as KServe's client looks for nothing else. A request that does not fit is a
400 here: the protocol knows no 422.
"""

import msgspec

from nearnorm.service.errors import InvalidRequest, ServiceError, problem_of
from nearnorm.service.http.body import JSON, Headers

_BAD_REQUEST = 400


def error_response(error: ServiceError) -> tuple[int, Headers, bytes]:
    """Status, headers and body that tell of an error."""
    status = _BAD_REQUEST if error.status == InvalidRequest.status else error.status
    told = {"error": error.detail} | msgspec.to_builtins(problem_of(error)) | {"status": status}
    headers = [(b"content-type", JSON)]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return status, headers, msgspec.json.encode(told)
