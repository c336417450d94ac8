"""A client of the service, by httpx alone (extra `client`): `nearnorm.Client` and `nearnorm.AsyncClient`."""

from nearnorm.client.clients import AsyncClient, Client
from nearnorm.client.problems import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    ProblemError,
    RequestError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
)
from nearnorm.client.scores import ScoreTable

__all__ = [
    "AsyncClient",
    "Client",
    "ConflictError",
    "ForbiddenError",
    "InvalidRequestError",
    "LimitError",
    "NotFoundError",
    "ProblemError",
    "RequestError",
    "ScoreTable",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnreachableError",
]
