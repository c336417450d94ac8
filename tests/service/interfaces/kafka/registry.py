"""A schema registry: what Confluent's serializers ask of one, over HTTP, kept in memory."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Registry(ThreadingHTTPServer):
    """`schemas` by id, from 1; `asked` are the paths of GET requests; `is_down`: it answers 503."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schemas: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.is_down = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def running_registry() -> Iterator[Registry]:
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_POST(self) -> None:
        """POST /subjects/NAME/versions registers a schema."""
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if sent not in self.server.schemas:
            self.server.schemas.append(sent)
        subject = self.path.split("/")[2]
        number = self.server.schemas.index(sent) + 1
        self._answer(200, {"id": number, "version": number, "subject": subject} | sent)

    def do_GET(self) -> None:
        """GET /schemas/ids/ID."""
        self.server.asked.append(self.path)
        number = int(self.path.partition("/schemas/ids/")[2].partition("?")[0] or 0)
        if self.server.is_down:
            self._answer(503, {"error_code": 50001})
        elif 0 < number <= len(self.server.schemas):
            self._answer(200, self.server.schemas[number - 1])
        else:
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the tests' output."""
