"""An HTTP proxy in front of an object store that answers 200 to what it does not keep."""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Lie = Literal["none", "drops", "cuts", "away"]


class LyingStore(ThreadingHTTPServer):
    """Forwards to `upstream`; of what is put under `about`, the next `times` are treated as `lie` says."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.lie: Lie = "none"
        self.about = re.compile("")
        self.times = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def lies(self, lie: Lie, about: str, times: int = 1) -> None:
        self.lie, self.about, self.times = lie, re.compile(about), times


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LyingStore

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server
        if server.lie == "away":
            self._answer(503, [], b"")
            return
        about = self.command == "PUT" and server.about.search(self.path)
        if server.lie in ("drops", "cuts") and server.times > 0 and about:
            server.times -= 1
            if server.lie == "drops":
                self._answer(200, [("ETag", '"0"')], b"")
                return
            body = body[: len(body) // 2]
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        connection = http.client.HTTPConnection(server.upstream, timeout=20)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = [
            (n, v) for n, v in answer.getheaders() if n.lower() in ("etag", "last-modified", "content-type")
        ]
        if self.command == "HEAD":
            kept.append(("Content-Length", answer.getheader("Content-Length", "0")))
        self._answer(answer.status, kept, content)
        connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name == "Content-Length" for name, _ in headers):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is its own."""


@contextmanager
def lying_store(upstream: str) -> Iterator[LyingStore]:
    server = LyingStore(upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
