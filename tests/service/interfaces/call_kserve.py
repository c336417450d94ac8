"""KServe's own client calls a running service, in an environment of its own: call_kserve.py URL COLUMNS"""

import asyncio
import json
import sys

from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(url: str, columns: dict[str, list[float]]) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    inputs = [InferInput(name, [len(data)], "FP64", data=data) for name, data in columns.items()]
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "default"),
    }
    answer = await client.infer(
        url, InferRequest(model_name="default", infer_inputs=inputs), model_name="default"
    )
    print(json.dumps(found | {one.name: one.data for one in answer.outputs}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
