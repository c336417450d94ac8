"""Signing in at an identity provider, a real one on another port, honest or not."""

import hmac
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.errors import ConfigError
from nearnorm.service.access import identity_provider, keyring
from nearnorm.service.access.session_cookie import COOKIE
from nearnorm.service.app import create_app
from nearnorm.service.ledger.database import Ledger
from nearnorm.service.ledger.migrate import migrate
from nearnorm.service.settings import OIDC_CALLBACK, Settings, load_settings
from tests.ports import free_port
from tests.service.access.test_keys import made
from tests.service.pages.identity_provider import CLIENT, SECRET, SmallProvider, new_key, running_provider
from tests.service.running import home_with, serving
from tests.service.waiting import until

PROVIDER = "/sign-in/provider"


@pytest.fixture
def provider() -> Iterator[SmallProvider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Path, payments: Bundle) -> Iterator[Ledger]:
    home_with(tmp_path / "home", payments)
    opened = Ledger.at(None, tmp_path / "home")
    migrate(opened)
    made(opened, "desk", "feedback")
    made(opened, "ops", "operate")
    yield opened
    opened.close()


@pytest.fixture
def client(tmp_path: Path, provider: SmallProvider, ledger: Ledger) -> Iterator[httpx.Client]:
    """A service that leads to the provider; the client goes where it is led, as a browser does."""
    port = free_port()
    settings = Settings(
        home=tmp_path / "home",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT,
        oidc_client_secret=SECRET,  # type: ignore[arg-type]
        oidc_redirect_uri=f"http://127.0.0.1:{port}{OIDC_CALLBACK}",
        oidc_keys="oncall=ops, fraud=desk",
    )
    with serving(create_app(settings), port) as client:
        client.follow_redirects = True
        yield client


def sign_in(client: httpx.Client, **params: str) -> httpx.Response:
    return client.get(PROVIDER, params=params)


def refused(client: httpx.Client, status: int, words: str) -> None:
    answer = sign_in(client)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert COOKIE not in client.cookies
    assert client.get("/session").status_code == 401


def test_who_signs_in_there_is_signed_in_here_by_the_key_of_his_group(
    client: httpx.Client, provider: SmallProvider
) -> None:
    assert "Sign in at http://127.0.0.1" in client.get("/sign-in").text
    assert sign_in(client, next="/review?model=default").url.path == "/review"
    who = client.get("/session").json()
    assert (who["name"], who["analyst"], who["roles"]) == ("desk", "ann", ["feedback"])
    assert set(client.cookies) == {COOKIE}
    provider.person |= {"preferred_username": "ben", "groups": ["other", "oncall", "fraud"]}
    sign_in(client)
    assert client.get("/session").json()["name"] == "ops"  # the first rule that fits
    trail = client.get("/audit", params={"limit": 2}).json()["audit"]
    assert [entry["subject"] for entry in trail] == ["analyst ben", "analyst ann"]
    assert trail[0]["detail"] == {"by": "identity provider"}


def test_it_works_in_a_browser(browser: Browser, client: httpx.Client) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{client.base_url}/review?model=default")
        page.get_by_role("button", name="Sign in at").click()
        page.wait_for_url(re.compile(r"/review\?model=default$"))
        expect(page.locator("body > header")).to_contain_text("ann")


def test_such_a_session_ends_with_the_key_that_it_opens(client: httpx.Client, ledger: Ledger) -> None:
    sign_in(client)
    with ledger.write() as connection:
        keyring.revoke(connection, "desk", "test")
    until(lambda: client.get("/session").status_code == 401)
    client.cookies.clear()
    refused(client, 403, "no API key &#39;desk&#39; is active")


@pytest.mark.parametrize(
    ("claims", "status", "words"),
    [
        ({"nonce": "another"}, 401, "nonce"),
        ({"nonce": None}, 401, "nonce"),
        ({"aud": "somebody else"}, 401, "aud"),
        ({"aud": [CLIENT, "somebody else"], "azp": "somebody else"}, 401, "azp"),
        ({"iss": "https://evil.example"}, 401, "iss"),
        ({"exp": 1_700_000_000}, 401, "expired"),
        ({"exp": None}, 401, "exp"),
        ({"iat": 99_999_999_999}, 401, "in the future"),
        ({"sub": None}, 401, "sub"),
        ({"groups": ["nobody"]}, 403, "no group of yours"),
        ({"groups": None}, 403, "no group of yours"),
        ({"groups": {"fraud": 1}}, 403, "no group of yours"),
        ({"preferred_username": None}, 403, "preferred_username"),
        ({"preferred_username": 7}, 403, "preferred_username"),
        ({"preferred_username": "\u200b"}, 403, "preferred_username"),
    ],
)
def test_a_token_that_does_not_hold_signs_nobody_in(
    client: httpx.Client, provider: SmallProvider, claims: dict[str, Any], status: int, words: str
) -> None:
    provider.claims = claims
    refused(client, status, words)


def test_a_token_that_another_key_signed_or_none_signs_nobody_in(
    client: httpx.Client, provider: SmallProvider
) -> None:
    for algorithm in ("none", "HS256"):
        provider.algorithm = algorithm
        refused(client, 401, "does not hold")
    provider.algorithm, provider.key = "RS256", new_key("1")
    refused(client, 401, "does not hold")


def test_a_new_key_of_the_provider_is_taken_up_and_not_asked_for_without_end(
    client: httpx.Client, provider: SmallProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client)
    client.cookies.clear()
    provider.key = new_key("2")
    provider.published, provider.header = [provider.key], {"kid": "2"}
    refused(client, 401, "does not hold")  # the keys were read a moment ago
    monkeypatch.setattr(identity_provider, "KEYS_LAST", 0.0)
    assert sign_in(client).url.path == "/review"


def test_what_is_no_answer_to_a_sign_in_of_this_browser_signs_nobody_in(client: httpx.Client) -> None:
    client.follow_redirects = False
    there = client.get(PROVIDER).headers["location"]
    back = client.get(there).headers["location"]
    code = parse_qs(urlsplit(back).query)["code"][0]
    state = parse_qs(urlsplit(back).query)["state"][0]
    without = hmac.digest(b"", b"state", "sha256").hex()
    with httpx.Client(base_url=client.base_url, timeout=60) as other:
        for cookie in ("", "nearnorm_attempt=", f"nearnorm_attempt={'x' * 43}.%2F"):
            for sent in (state, without, "", "\u00fc"):
                answer = other.get(
                    OIDC_CALLBACK, params={"code": code, "state": sent}, headers={"Cookie": cookie}
                )
                assert answer.status_code == 401
                assert COOKIE not in answer.cookies
    attempt = client.cookies["nearnorm_attempt"]
    stranger = client.get(OIDC_CALLBACK, params={"code": code, "state": state[::-1]})
    assert stranger.status_code == 401
    assert "no answer to a sign-in of this browser" in stranger.text
    client.cookies.set("nearnorm_attempt", attempt, domain="127.0.0.1", path=PROVIDER)
    wrong = client.get(OIDC_CALLBACK, params={"code": "another", "state": state})
    assert wrong.status_code == 401
    assert "confirms no sign-in" in wrong.text
    assert client.get(back).status_code == 401  # the attempt was used


def test_who_is_not_let_in_there_is_told_so_here(client: httpx.Client, provider: SmallProvider) -> None:
    provider.refuses = True
    refused(client, 401, "access_denied")


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", f"/{'x' * 5000}"])
def test_nobody_is_led_elsewhere_afterwards(client: httpx.Client, to: str) -> None:
    assert sign_in(client, next=to).url.path == "/review"
    client.follow_redirects = False
    there = client.get(PROVIDER).headers["location"]
    back = client.get(there).headers["location"]
    attempt = client.cookies.pop("nearnorm_attempt").partition(".")[0]
    planted = {"Cookie": f"nearnorm_attempt={attempt}.{quote(to, safe='')[:1000]}"}
    led = client.get(back, headers=planted).headers["location"]
    assert led.startswith("/x") or led == "/"


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://another.example"},
        {"authorization_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://127.0.0.1:1/token"},
        {"jwks_uri": "http://127.0.0.1:1/jwks"},
        {"jwks_uri": 7},
    ],
)
def test_a_provider_that_is_away_or_another_is_told_with_what_to_do(
    client: httpx.Client, provider: SmallProvider, about: dict[str, Any]
) -> None:
    provider.about = about
    refused(client, 503, "sign in by an API key")


def test_without_a_provider_there_is_no_way_to_one(tmp_path: Path, ledger: Ledger) -> None:
    with serving(create_app(Settings(home=tmp_path / "home"))) as client:
        assert "Sign in at" not in client.get("/sign-in").text
        for path in (PROVIDER, OIDC_CALLBACK):
            assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"oidc_issuer": "http://login.example.com"}, "oidc_issuer is no https:// address"),
        ({"oidc_redirect_uri": None}, "oidc_redirect_uri is no https:// address"),
        ({"oidc_redirect_uri": "https://desk.example.com/"}, "ends with /sign-in/provider/callback"),
        ({"oidc_keys": " , "}, "oidc_keys is empty"),
    ],
)
def test_a_provider_that_is_not_told_whole_is_refused_at_the_start(more: dict[str, Any], words: str) -> None:
    whole = {
        "oidc_issuer": "https://login.example.com",
        "oidc_redirect_uri": f"https://desk.example.com{OIDC_CALLBACK}",
        "oidc_keys": "desk",
    }
    assert load_settings(whole).is_public_by_https
    with pytest.raises(ConfigError, match=words):
        load_settings(whole | more)


def test_the_secret_is_in_no_words_of_the_settings() -> None:
    assert SECRET not in repr(Settings(oidc_client_secret=SECRET))  # type: ignore[arg-type]
