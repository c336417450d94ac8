"""What /score is measured against, as ASGI applications: `python -m tests.load.yardsticks NAME BUNDLE`.

empty     reads the body and answers two bytes: the least that uvicorn costs
tutorial  what a tutorial writes, tuned: FastAPI, pydantic, `async def`, one onnxruntime thread; bare lists
          in, four bare arrays out
route     a plain FastAPI route that answers what /score answers: named records, pydantic, percentiles
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.conformal import Ranks, default_policy


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def one_thread(bundle: Bundle) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(bundle.model, options, providers=["CPUExecutionProvider"])


class Lists(BaseModel):
    rows: list[list[float]]


def tutorial(bundle: Bundle) -> FastAPI:
    app, session = FastAPI(), one_thread(bundle)
    names = ["score", "prototype", "distance", "reconstruction_error"]

    @app.post("/score")
    async def score(body: Lists) -> dict[str, list[float]]:
        numeric = np.array(body.rows, np.float64)
        feed = {"numeric": numeric, "codes": np.zeros((len(numeric), 0), np.int64)}
        answers = session.run(names, feed)
        return {name: np.asarray(a).tolist() for name, a in zip(names, answers, strict=True)}

    return app


class Records(BaseModel):
    records: list[dict[str, float | None]]


class Row(BaseModel):
    score: float
    percentile: float
    anomaly: bool
    prototype: int
    distance: float
    reconstruction_error: float


class Rows(BaseModel):
    model: dict[str, str]
    provider: str
    results: list[Row]


def route(bundle: Bundle) -> FastAPI:
    app, session, core = FastAPI(), one_thread(bundle), bundle.manifest.core
    names = [f.name for f in core.features.numeric]
    ranks = Ranks(core.reference.scores, default_policy(core.reference.rows))

    @app.post("/score")
    async def score(body: Records) -> Rows:
        cells: list[list[Any]] = [[record.get(name) for name in names] for record in body.records]
        numeric = np.array(cells, np.float64)
        feed = {"numeric": numeric, "codes": np.zeros((len(numeric), 0), np.int64)}
        wanted = ["score", "prototype", "distance", "reconstruction_error"]
        found = [np.asarray(answer) for answer in session.run(wanted, feed)]
        percentile, anomaly = ranks.judge(found[0])
        rows = zip(*(a.tolist() for a in (found[0], percentile, anomaly, *found[1:])), strict=True)
        fields = list(Row.model_fields)
        return Rows(
            model={"name": "default", "version": bundle.version},
            provider="CPUExecutionProvider",
            results=[Row(**dict(zip(fields, row, strict=True))) for row in rows],
        )

    return app


def main() -> None:
    name, folder, port = sys.argv[1:4]
    app: ASGIApp = empty
    if name != "empty":
        app = {"tutorial": tutorial, "route": route}[name](read_bundle(Path(folder)))
    uvicorn.run(app, port=int(port), access_log=False, log_level="warning", loop="uvloop", http="httptools")


if __name__ == "__main__":
    main()
