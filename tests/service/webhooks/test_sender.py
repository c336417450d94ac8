"""One POST: no redirect, no proxy, no endless answer; TLS by the name, on a socket to the checked address."""

import datetime
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nearnorm.service.webhooks import sender as senders
from nearnorm.service.webhooks.destination import Destination, read_destination
from nearnorm.service.webhooks.sender import Sender
from tests.service.webhooks.receiver import Receiver, receiving

LOCAL = {"127.0.0.1", "hooks.example.com", "other.example.com"}


def to(url: str) -> Destination:
    return read_destination(url, LOCAL)


def local(*_: object) -> list[str]:
    return ["127.0.0.1"]


def test_what_is_sent_arrives_as_it_is_with_its_headers() -> None:
    with receiving() as receiver:
        attempt = Sender().post(to(receiver.url), b'{"a": 1}', {"webhook-id": "msg_1"})
    assert (attempt.status, attempt.problem) == (200, None)
    (got,) = receiver.received
    assert (got.path, got.body, got.message_id) == ("/hook", b'{"a": 1}', "msg_1")
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_refusal_and_nobody_goes_there(status: int) -> None:
    with receiving() as target:
        with receiving(Receiver(answer=lambda _: (status, {"Location": target.url}))) as receiver:
            attempt = Sender().post(to(receiver.url), b"{}", {})
        assert attempt.status == status
        assert "redirects are not followed" in (attempt.problem or "")
        assert len(receiver.received) == 1
        assert target.received == []


def test_proxies_of_the_environment_are_not_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert Sender().post(to(receiver.url), b"{}", {}).status == 200
        assert proxy.received == []


def test_of_an_answer_a_short_excerpt_is_shown_that_can_be_read() -> None:
    answer = Receiver(
        answer=lambda _: (500, {"Retry-After": "7"}), text=b"no\r\n\x1b[31m room" + b"x" * 10_000
    )
    with receiving(answer) as receiver:
        attempt = Sender().post(to(receiver.url), b"{}", {})
    assert attempt.status == 500
    assert attempt.retry_after == 7
    assert (attempt.problem or "").startswith("it answered 500: no")
    assert len(attempt.problem or "") < 230
    assert (attempt.problem or "").isprintable()


@pytest.mark.parametrize("value", ["-1", "soon", "1e9", "99999999999", "\u0661"])
def test_a_retry_after_that_is_no_number_of_seconds_says_nothing(value: str) -> None:
    with receiving(
        Receiver(answer=lambda _: (429, {"Retry-After": value.encode().decode("latin-1")}))
    ) as receiver:
        assert Sender().post(to(receiver.url), b"{}", {}).retry_after is None


def test_an_answer_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every timeout of a socket from running out."""
    monkeypatch.setattr(senders, "SECONDS", 0.5)
    with Dripping() as port:
        began = time.monotonic()
        attempt = Sender().post(to(f"http://127.0.0.1:{port}/"), b"{}", {})
        assert time.monotonic() - began < 60  # and not for ever: a busy machine is late
    assert "within" in (attempt.problem or "")


def test_who_is_not_there_or_speaks_no_http_is_told_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        problem = Sender().post(to(f"http://127.0.0.1:{port}/"), b"{}", {}).problem or ""
    assert problem.startswith(f"no connection to 127.0.0.1:{port}: ")
    with receiving() as receiver:
        problem = Sender().post(to(f"https://127.0.0.1:{receiver.port}/"), b"{}", {}).problem or ""
    assert problem.startswith("no answer of ")

    def gone(*_: object) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    problem = Sender(gone).post(to("http://hooks.example.com/"), b"{}", {}).problem or ""
    assert "cannot be resolved" in problem


def test_https_is_checked_by_the_name_on_a_socket_to_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path, "hooks.example.com")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with receiving(tls=tls) as receiver:
        by_name = to(f"https://hooks.example.com:{receiver.port}/hook")
        untrusted = Sender(local).post(by_name, b"{}", {})
        assert "certificate verify failed" in (untrusted.problem or "")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert Sender(local).post(by_name, b"{}", {}).status == 200
        other = Sender(local).post(to(f"https://other.example.com:{receiver.port}/hook"), b"{}", {})
        assert "certificate verify failed" in (other.problem or "")
    assert [got.headers["host"] for got in receiver.received] == [f"hooks.example.com:{receiver.port}"]


class Dripping:
    """A server that begins its answer and never ends it."""

    def __enter__(self) -> int:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()
        port: int = self._server.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.close()
        self._thread.join()

    def _drip(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.recv(65_536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not self._ended.wait(0.02):
                    connection.sendall(b"x")
            except OSError:
                return


def _certificate(folder: Path, name: str) -> Path:
    """Its own issuer, with the key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file
