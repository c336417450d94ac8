"""The benchmark's model as an MLServer runtime: what its guide to custom runtimes says, tensors in and out.

Imported by MLServer in an environment of its own.
"""

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

NAMES = ["score", "prototype", "distance", "reconstruction_error"]


class Prototypes(MLModel):  # type: ignore[misc]  # MLServer is not installed where types are checked
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        numeric = NumpyCodec.decode_input(payload.inputs[0])
        feed = {"numeric": numeric, "codes": numeric[:, :0].astype("int64")}
        answers = zip(NAMES, self._session.run(NAMES, feed), strict=True)
        outputs = [NumpyCodec.encode_output(name, answer) for name, answer in answers]
        return InferenceResponse(model_name=self.name, outputs=outputs)
