"""Identity provider: analysts sign in where their organisation has them (OpenID Connect, by code and PKCE).

The browser holds one secret from here to the provider and back, of which state, nonce and verifier are made.
The provider's ID token says who it is, our settings which API key that opens.
"""

import asyncio
import base64
import hashlib
import hmac
import importlib.util
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from nearnorm.models.errors import ConfigError
from nearnorm.service.access.analyst_name import normalised
from nearnorm.service.errors import Forbidden, ProviderUnavailable, Unauthorized
from nearnorm.service.settings import Settings, listed

if TYPE_CHECKING:  # the extra oidc, loaded with the first who signs in so
    import httpx
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
PATIENCE = 5.0  # seconds for each answer
LEEWAY = 60  # seconds that the provider's clock may differ
KEYS_LAST = 60.0  # seconds for which its keys are not read again
_BASIC = "client_secret_basic"


class Person(Struct, frozen=True):
    """Who signed in at the provider, and the name of the API key that this opens."""

    analyst: str
    key: str


class IdentityProvider:
    """The provider of the settings. What it says of itself is read with the first sign-in."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError where the extra oidc is not installed."""
        if not all(importlib.util.find_spec(module) for module in ("httpx", "joserfc")):
            raise ConfigError("NEARNORM_OIDC_ISSUER needs the extra oidc: pip install 'nearnorm[oidc]'")
        self.issuer = str(settings.oidc_issuer)
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._about: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._keys_read = 0.0

    async def address(self, attempt: str) -> str:
        """Where the browser goes to sign in. Raises ProviderUnavailable."""
        endpoint = await self._endpoint("authorization_endpoint")
        verifier = hashlib.sha256(_derived(attempt, "verifier").encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self._settings.oidc_redirect_uri,
            "scope": self._settings.oidc_scope,
            "state": _derived(attempt, "state"),
            "nonce": _derived(attempt, "nonce"),
            "code_challenge": base64.urlsafe_b64encode(verifier).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def person(self, attempt: str, state: str, code: str) -> Person:
        """Who came back. Raises Unauthorized, Forbidden, ProviderUnavailable."""
        if not hmac.compare_digest(state.encode(), _derived(attempt, "state").encode()):
            raise Unauthorized("this is no answer to a sign-in of this browser: start again")
        claims = await self._claims(await self._id_token(attempt, code), _derived(attempt, "nonce"))
        return Person(self._name(claims), self._key(claims))

    async def _id_token(self, attempt: str, code: str) -> str:
        settings = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": str(settings.oidc_redirect_uri),
            "client_id": settings.oidc_client_id,
            "code_verifier": _derived(attempt, "verifier"),
        }
        basic: tuple[str, str] | None = None
        if settings.oidc_client_secret is not None:
            secret = settings.oidc_client_secret.get_secret_value()
            if _BASIC in self._about.get("token_endpoint_auth_methods_supported", [_BASIC]):
                basic = quote(settings.oidc_client_id, safe=""), quote(secret, safe="")
            else:
                form["client_secret"] = secret
        answer = await self._asked("POST", await self._endpoint("token_endpoint"), data=form, auth=basic)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Unauthorized("the identity provider confirms no sign-in: start again")
        return token

    async def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """What a token says that the provider signed for us, now, and for this sign-in."""
        from joserfc.errors import InvalidKeyIdError, JoseError
        from joserfc.jwt import JWTClaimsRegistry, decode

        us = self._settings.oidc_client_id
        rules = JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": us},
            azp={"value": us},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            try:
                found = decode(token, await self._key_set(), list(ALGORITHMS))
            except InvalidKeyIdError:  # it may have taken a new one
                found = decode(token, await self._key_set(anew=True), list(ALGORITHMS))
            rules.validate(found.claims)
        except (JoseError, ValueError) as error:
            raise Unauthorized(f"the identity provider's token does not hold: {error}") from None
        return found.claims

    def _name(self, claims: Mapping[str, Any]) -> str:
        claim = self._settings.oidc_name
        try:
            return normalised(str(claims[claim] if isinstance(claims.get(claim), str) else ""))
        except ValueError:
            raise Forbidden(
                f"the identity provider does not say who you are: its token has no usable {claim!r} "
                "(NEARNORM_OIDC_NAME, NEARNORM_OIDC_SCOPE)"
            ) from None

    def _key(self, claims: Mapping[str, Any]) -> str:
        """Of `group=key` the first whose group is among the token's; a key alone is everybody's."""
        said = claims.get("groups")
        groups = {said} if isinstance(said, str) else set(map(str, said)) if isinstance(said, list) else set()
        for rule in listed(self._settings.oidc_keys):
            group, is_, key = rule.rpartition("=")
            if not is_ or group.strip() in groups:
                return key.strip()
        raise Forbidden(
            "no group of yours at the identity provider opens anything here: ask an operator for it "
            "(NEARNORM_OIDC_KEYS)"
        )

    async def _endpoint(self, name: str) -> str:
        if not self._about:
            about = await self._asked("GET", f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != self.issuer:
                raise _away(f"it says that it is {about.get('issuer')!r}, and NEARNORM_OIDC_ISSUER otherwise")
            self._about = about
        endpoint = self._about.get(name)
        if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
            raise _away(f"it names no {name}")
        return endpoint

    async def _key_set(self, anew: bool = False) -> "KeySet":
        from joserfc.jwk import KeySet

        if self._keys is None or (anew and monotonic() - self._keys_read > KEYS_LAST):
            found: Any = await self._asked("GET", await self._endpoint("jwks_uri"))
            self._keys = KeySet.import_key_set(found)
            self._keys_read = monotonic()
        return self._keys

    async def _asked(self, method: str, url: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's own
        if self._client is None:
            self._client = await asyncio.to_thread(_new_client)
        import httpx

        try:
            answer = await self._client.request(method, url, **more)
            if answer.status_code in (400, 401) and method == "POST":
                return {}
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _away(f"{type(error).__name__} at {url.partition('?')[0]}") from None
        if not isinstance(found, dict):
            raise _away(f"no object at {url.partition('?')[0]}")
        return found


def _new_client() -> "httpx.AsyncClient":
    """In a thread: its import and its certificates take a tenth of a second."""
    import httpx
    import joserfc.jwt  # noqa: F401 - likewise

    once = httpx.Limits(max_keepalive_connections=0)  # people sign in now and then: nothing is left to close
    return httpx.AsyncClient(timeout=PATIENCE, limits=once, follow_redirects=False)


def _away(why: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"the identity provider does not answer as it should ({why}): try again, or sign in by an API key",
        headers={"Retry-After": "5"},
    )


def _derived(attempt: str, purpose: str) -> str:
    return hmac.digest(attempt.encode(), purpose.encode(), "sha256").hex()
