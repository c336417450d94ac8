"""The benchmark's model in KServe's Python server, by its guide to custom predictors: lists in, lists out,
and tensors where the Open Inference Protocol is spoken.

Run in an environment of its own: `python server_kserve.py --http_port PORT MODEL.ONNX`.
"""

import logging
import sys

import numpy as np
import onnxruntime as ort
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer

_DATATYPES = {"float32": "FP32", "int64": "INT64"}
NAMES = ["score", "prototype", "distance", "reconstruction_error"]


class Prototypes(Model):  # type: ignore[misc]  # KServe is not installed where types are checked
    def __init__(self, path: str) -> None:
        super().__init__("default")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(
        self,
        payload: dict[str, list[list[float]]] | InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, dict[str, list[float]]] | InferResponse:
        if isinstance(payload, dict):
            answers = self._run(np.array(payload["instances"], np.float64))
            return {"predictions": {name: answer.tolist() for name, answer in answers}}
        outputs = [
            InferOutput(name, list(answer.shape), _DATATYPES[answer.dtype.name], answer.tolist())
            for name, answer in self._run(payload.inputs[0].as_numpy())
        ]
        return InferResponse(payload.id or "", self.name, outputs)

    def _run(self, numeric: np.ndarray) -> list[tuple[str, np.ndarray]]:
        feed = {"numeric": numeric, "codes": np.zeros((len(numeric), 0), np.int64)}
        return list(zip(NAMES, self._session.run(NAMES, feed), strict=True))


if __name__ == "__main__":
    server = ModelServer(enable_grpc=False, enable_latency_logging=False)
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)  # a line a request costs more than the model
    logging.getLogger("uvicorn.access").handlers.clear()
    server.start([Prototypes(sys.argv[-1])])
