"""What the service and its bulk process say to each other, over a socket that only they have.

A message is a head that tells what follows, and its arrays as they lie in memory: nothing large is copied
into Python objects on the service's side.
"""

import socket
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.service.records.shapes import Id, Matched, ModelRef, Reason

Arrays = Sequence[NDArray[Any]]
_HEAD = struct.Struct("=II")


class Schema(Struct, frozen=True):
    """`features` as JSON."""

    features: str
    max_rows: int


class ReadBody(Struct, tag=True):
    """Read a body, which is the one array.

    `models` has the version of each name, `schemas` those versions that the process does not know yet;
    `codec` names the module that reads the body (None: JSON of /score), and `named` the model of what cannot
    say so itself (None: the `first`).
    """

    codec: str | None
    first: str
    named: str | None
    models: dict[str, str]
    schemas: dict[str, Schema]


class RowsRead(Struct, tag=True):
    """Its rows: the arrays are numbers, codes, what is `left` to write from, `kept` where `some` are not, and
    the columns that are kept beside them, packed.

    `ids` and `unknown` are by the place of a row; `errors` is how many rows have one.
    """

    model: str
    count: int
    some: bool
    errors: int
    explain: bool
    ids: list[Id | None] | None
    unknown: dict[int, dict[str, str]]


class NoSuchModel(Struct, tag=True):
    """The body names a model that was not among those that serve."""

    name: str


class WriteAnswer(Struct, tag=True):
    """Write an answer. Arrays: what was `left` when the body was read, and where `scored`, a Verdicts'."""

    codec: str | None
    ref: ModelRef
    provider: str
    signals: list[str]
    scored: bool
    novel: dict[int, tuple[int, ...]]
    event_ids: dict[int, str]
    matched: dict[int, Matched]
    reasons: dict[int, list[Reason]] | None
    groups: dict[str, Any]
    warning: str | None


class Written(Struct, tag=True):
    """The answer is the one array."""


class Refused(Struct, tag=True):
    """An error of the caller's: the name of its class in service/errors, and what it was made with."""

    kind: str
    detail: str
    field: str | None
    headers: dict[str, str]
    errors: list[dict[str, Any]] | None = None


class Mistaken(Struct, tag=True):
    """A mistake of ours, as a traceback."""

    traceback: str


Job = ReadBody | WriteAnswer
Reply = RowsRead | NoSuchModel | Written | Refused | Mistaken


class _Described(Struct, array_like=True):
    kind: str
    shape: tuple[int, ...]


_encode = msgspec.msgpack.Encoder().encode
_jobs = msgspec.msgpack.Decoder(Job)
_replies = msgspec.msgpack.Decoder(Reply)
_described = msgspec.msgpack.Decoder(list[_Described])


def as_bytes(array: NDArray[Any]) -> bytes:
    return array.tobytes()


def as_array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def send(connection: socket.socket, message: Job | Reply, arrays: Arrays) -> None:
    """Raises OSError."""
    told = _encode(message)
    described = _encode([_Described(array.dtype.str, array.shape) for array in arrays])
    connection.sendall(_HEAD.pack(len(described), len(told)) + described + told)
    for array in arrays:
        if array.nbytes:
            connection.sendall(np.ascontiguousarray(array).data.cast("B"))


def receive_job(connection: socket.socket) -> tuple[Job, list[NDArray[Any]]]:
    """Raises EOFError when the other side is gone."""
    told, arrays = _receive(connection)
    return _jobs.decode(told), arrays


def receive_reply(connection: socket.socket) -> tuple[Reply, list[NDArray[Any]]]:
    """Raises EOFError, OSError; TimeoutError where nothing comes within the socket's patience."""
    told, arrays = _receive(connection)
    return _replies.decode(told), arrays


def _receive(connection: socket.socket) -> tuple[bytes, list[NDArray[Any]]]:
    head = bytearray(_HEAD.size)
    _fill(connection, memoryview(head))
    describing, telling = _HEAD.unpack(head)
    told = bytearray(describing + telling)
    _fill(connection, memoryview(told))
    arrays = []
    for one in _described.decode(told[:describing]):
        array = np.empty(one.shape, one.kind)
        if array.nbytes:
            _fill(connection, array.data.cast("B"))
        arrays.append(array)
    return bytes(told[describing:]), arrays


def _fill(connection: socket.socket, view: memoryview) -> None:
    while view:
        got = connection.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
