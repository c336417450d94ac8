"""The benchmark's model in KServe's Python server, by its guide to custom predictors: lists in, lists out.

Run in an environment of its own: `python server_kserve.py --http_port PORT MODEL.ONNX`.
"""

import logging
import sys

import numpy as np
import onnxruntime as ort
from kserve import Model, ModelServer

NAMES = ["score", "prototype", "distance", "reconstruction_error"]


class Prototypes(Model):  # type: ignore[misc]  # KServe is not installed where types are checked
    def __init__(self, path: str) -> None:
        super().__init__("bench")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(
        self, payload: dict[str, list[list[float]]], headers: dict[str, str] | None = None
    ) -> dict[str, dict[str, list[float]]]:
        numeric = np.array(payload["instances"], np.float64)
        feed = {"numeric": numeric, "codes": np.zeros((len(numeric), 0), np.int64)}
        answers = zip(NAMES, self._session.run(NAMES, feed), strict=True)
        return {"predictions": {name: answer.tolist() for name, answer in answers}}


if __name__ == "__main__":
    server = ModelServer(enable_grpc=False, enable_latency_logging=False)
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)  # a line a request costs more than the model
    logging.getLogger("uvicorn.access").handlers.clear()
    server.start([Prototypes(sys.argv[-1])])
