"""A bucket of moto's S3 server, on a free port."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from moto.server import ThreadedMotoServer

BUCKET = "data"


@contextmanager
def running_s3() -> Iterator[dict[str, str]]:
    """The usual AWS_ variables, by which BUCKET is reached."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        httpx.post(
            f"http://{host}:{port}/moto-api/reset", timeout=60
        ).raise_for_status()  # a process has one state
        httpx.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
        yield {
            "AWS_ACCESS_KEY_ID": "k",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.stop()
