"""The bulk process: reads long bodies and writes long answers beside the service, one after the other.

    python -m nearnorm.service.scoring.bulk.process DESCRIPTOR

A decoder of 30 MB holds the interpreter for tens of milliseconds; here nobody else needs it. The process
knows schemas, no models: rows are scored, judged and remembered in the service, and it keeps nothing between
two jobs but its encoders. It ends when the service's end of the socket closes, however that happens.
"""

import os
import pickle
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from nearnorm.models.data.schema import FeatureSchema
from nearnorm.service.errors import BodyTooLarge, ServiceError
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Encoded, Rows
from nearnorm.service.records.encoder import Encoder
from nearnorm.service.records.shapes import Envelope
from nearnorm.service.scoring.answer_parts import Reasons, Remembered
from nearnorm.service.scoring.bulk.messages import (
    Job,
    Mistaken,
    NoSuchModel,
    ReadBody,
    Refused,
    Reply,
    RowsRead,
    WriteAnswer,
    Written,
    as_array,
    receive_job,
    send,
)
from nearnorm.service.scoring.codec import BodyOptions, import_codec
from nearnorm.service.scoring.json_answer import answered
from nearnorm.service.serving.facts import ModelFacts
from nearnorm.service.serving.memory.malloc import share_heap, trim_heap
from nearnorm.service.serving.results import Batch, Scores
from nearnorm.service.verdict.novelty import Signals

NICE = 10
MOST_MEMORY = 2 * 2**30
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
_TRIM_FROM = 2**22

Replied = tuple[Reply, list[NDArray[Any]]]


class BulkWork:
    """Does one job after the other."""

    def __init__(self) -> None:
        self._encoders: dict[str, Encoder] = {}

    def reply(self, job: Job, arrays: list[NDArray[Any]]) -> Replied:
        """Whatever happens is told: a body must not end the process."""
        try:
            return self._read(job, arrays) if isinstance(job, ReadBody) else _write(job, arrays)
        except ServiceError as error:
            kind = type(error).__name__
            return Refused(kind, error.detail, error.field, error.headers, error.errors), []
        except MemoryError:
            detail = "the request takes more memory than one may: send fewer rows"
            return Refused(BodyTooLarge.__name__, detail, None, {}), []
        except Exception:
            return Mistaken(traceback.format_exc()), []

    def _read(self, job: ReadBody, arrays: list[NDArray[Any]]) -> Replied:
        known = {
            version: encoder for version, encoder in self._encoders.items() if version in job.models.values()
        }
        for version, schema in job.schemas.items():
            known[version] = Encoder(FeatureSchema.model_validate_json(schema.features), schema.max_rows)
        self._encoders = known
        body = arrays[0].tobytes()
        return self._read_json(job, body) if job.codec is None else self._read_by(job.codec, job, body)

    def _read_json(self, job: ReadBody, body: bytes) -> Replied:
        name = job.first
        encoder = known = self._encoders[job.models[name]]
        request = encoder.decode(body)
        if request.model != name:
            name = request.model
            if name not in job.models:
                return NoSuchModel(name), []
            encoder = self._encoders[job.models[name]]
            request = encoder.decode(body) if encoder is not known else request
        encoded = encoder.encode(request)
        asked = Envelope(
            records=UNSET if isinstance(request.records, UnsetType) else [],
            columns=UNSET if isinstance(request.columns, UnsetType) else {},
            explain=request.explain,
        )
        return _rows_read(name, asked, encoded)

    def _read_by(self, codec: str, job: ReadBody, body: bytes) -> Replied:
        name = job.named or job.first
        if name not in job.models:
            return NoSuchModel(name), []
        asked, encoded = import_codec(codec).read(body, self._encoders[job.models[name]])
        return _rows_read(name, asked, encoded)


def _rows_read(name: str, asked: BodyOptions, encoded: Encoded) -> Replied:
    """What the service needs to score and to remember; the rest comes back when the answer is due."""
    rows, kept = encoded.rows, encoded.kept
    beside = [] if encoded.beside is None else encoded.beside.packed(encoded.count)
    encoded.beside = None
    width = np.empty((len(rows), 0))
    encoded.rows = Rows(width, width.astype(np.int64))
    left = pickle.dumps((asked, encoded), pickle.HIGHEST_PROTOCOL)
    arrays: list[NDArray[Any]] = [rows.numeric, rows.codes, as_array(left)]
    if kept is not None:
        arrays.append(np.array(kept, np.int64))
    arrays += beside
    ids = None if encoded.ids is None else list(encoded.ids)
    found = RowsRead(
        name, encoded.count, kept is not None, len(encoded.errors), asked.explain, ids, encoded.unknown
    )
    return found, arrays


def _write(job: WriteAnswer, arrays: list[NDArray[Any]]) -> Replied:
    asked, encoded = pickle.loads(arrays[0].data)  # noqa: S301 - our own, back from the service
    facts = ModelFacts(job.ref, job.provider, Signals(job.signals))
    scores = _scores(encoded, job, arrays[1:]) if job.scored else None
    noted = Remembered(job.event_ids, job.matched)
    reasons = None if job.reasons is None else Reasons(job.reasons, job.groups, job.warning)
    write = answered if job.codec is None else import_codec(job.codec).write
    payload = write(facts, asked, encoded, scores, noted, reasons)
    return Written(), [as_array(payload)]


def _scores(encoded: Encoded, job: WriteAnswer, arrays: list[NDArray[Any]]) -> Scores:
    score, prototype, distance, error, percentile, anomaly = arrays
    none = np.empty((len(score), 0), np.float32)
    percentiles, anomalies = percentile.tolist(), anomaly.tolist()
    batch = Batch(
        encoded.rows,
        Outputs(score, none, prototype, distance, error, none),
        score.tolist(),
        percentiles,
        anomalies,
        prototype.tolist(),
        distance.tolist(),
        error.tolist(),
        job.novel,
    )
    return Scores(batch, 0, len(score), percentiles, anomalies)


def most_memory(limit: Path = _CONTAINER_LIMIT) -> int:
    """Bytes of heap, half of what the container may have at most: a request that takes more is refused."""
    try:
        return min(MOST_MEMORY, int(limit.read_text()) // 2)
    except (OSError, ValueError):  # no container, or one without a limit
        return MOST_MEMORY


def main() -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):  # of a whole group: what the service accepted is answered
        signal.signal(ending, signal.SIG_IGN)
    os.nice(NICE)
    most = most_memory()
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    share_heap()
    work = BulkWork()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        send(connection, Written(), [])  # it is there
        while True:
            try:
                job, arrays = receive_job(connection)
                size = sum(array.nbytes for array in arrays)
                reply, arrays = work.reply(job, arrays)
                send(connection, reply, arrays)
            except (EOFError, OSError):  # the service is gone
                return
            del job, reply, arrays
            if size > _TRIM_FROM:
                trim_heap()


if __name__ == "__main__":
    main()
