"""MLServer's own codecs make a request of a frame and read the answer: call_mlserver.py URL COLUMNS"""

import json
import sys
import urllib.request

import pandas as pd  # type: ignore[import-untyped]
from mlserver.codecs import PandasCodec
from mlserver.types import InferenceResponse

url, columns = sys.argv[1], json.loads(sys.argv[2])
body = PandasCodec.encode_request(pd.DataFrame(columns), use_bytes=False).model_dump_json(exclude_none=True)
sent = urllib.request.Request(  # noqa: S310 - a service on this machine
    f"{url}/v2/models/default/infer", body.encode(), {"content-type": "application/json"}
)
with urllib.request.urlopen(sent) as answered:  # noqa: S310
    answer = InferenceResponse.model_validate_json(answered.read())
print(json.dumps({one.name: list(one.data.root) for one in answer.outputs}))
