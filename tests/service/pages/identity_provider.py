"""A small identity provider (OpenID Connect) on a port of its own: it signs in whom it is told, and lies."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "nearnorm", "s3cret/with +signs"


def new_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


class SmallProvider:
    """`person` is who sits there; `claims` and `header` go over what an honest token says; `key` signs."""

    def __init__(self) -> None:
        self.issuer = ""
        self.person: dict[str, Any] = {"sub": "7", "preferred_username": "ann", "groups": ["fraud"]}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.algorithm = "RS256"
        self.refuses = False
        self.key = new_key("1")
        self.published = [self.key]
        self._asked: dict[str, dict[str, str]] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._jwks),
            ]
        )

    async def _discovery(self, _: Request) -> Response:
        about = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }
        return JSONResponse(about | self.about)

    async def _jwks(self, _: Request) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.published]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        back = {"state": asked["state"]}
        if self.refuses:
            back["error"] = "access_denied"
        else:
            back["code"] = secrets.token_urlsafe(16)
            self._asked[back["code"]] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 303)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        expected = base64.b64encode(b"nearnorm:s3cret%2Fwith%20%2Bsigns").decode()
        asked = self._asked.pop(form["code"], None)
        challenge = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            asked is None
            or request.headers.get("authorization") != f"Basic {expected}"
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != _base64(challenge)
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        honest = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        said = honest | self.person | self.claims
        token = self._signed({name: value for name, value in said.items() if value is not None})
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    def _signed(self, claims: dict[str, Any]) -> str:
        if self.algorithm in ("none", "HS256"):  # no library makes these: unsigned, and by what all can read
            head = {"alg": self.algorithm, "kid": "1"}
            parts = [_base64(json.dumps(part).encode()) for part in (head, claims)]
            public = self.published[0].as_pem(private=False)
            mac = hmac.digest(public, ".".join(parts).encode(), "sha256")
            return ".".join([*parts, _base64(mac) if self.algorithm == "HS256" else ""])
        return jwt.encode({"alg": self.algorithm, "kid": "1"} | self.header, claims, self.key)


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@contextmanager
def running_provider() -> Iterator[SmallProvider]:
    provider = SmallProvider()
    server = uvicorn.Server(uvicorn.Config(provider.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        provider.issuer = f"http://127.0.0.1:{port}"
        yield provider
    finally:
        server.should_exit = True
        thread.join()
