"""Keys and passwords are in no log and no message."""

import re
import time
from pathlib import Path

import httpx
import pytest

from nearnorm.models.errors import NearnormError
from nearnorm.service.services import Services
from nearnorm.service.settings import Settings
from tests.service.bundles import make_bundle
from tests.service.process.test_server import RECORD, nearnorm, process
from tests.service.running import home_with


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return home_with(tmp_path / "home", make_bundle(tmp_path / "bundle"))


def test_no_secret_is_in_the_log(home: Path) -> None:
    secret = nearnorm(home, "keys", "create", "app", "--role", "score")[-1]
    with process(home, NEARNORM_LOG_REQUESTS="true", NEARNORM_WORKER="off") as (_, url):
        for sent in (secret, f"{secret}x"):
            for headers in ({"Authorization": f"Bearer {sent}"}, {"X-API-Key": sent}):
                answer = httpx.post(f"{url}/score", json={"records": [RECORD]}, headers=headers, timeout=60)
                assert answer.status_code == (200 if sent == secret else 401)
                assert secret not in answer.text
        httpx.get(f"{url}/audit", headers={"Authorization": f"Basic {secret}"}, timeout=60)
        signed_in = httpx.post(f"{url}/session", json={"key": secret}, timeout=60)
        session = signed_in.cookies["nearnorm_session"]
        for cookie in (session, f"{session}x"):
            httpx.get(f"{url}/session", headers={"Cookie": f"nearnorm_session={cookie}"}, timeout=60)
        httpx.post(f"{url}/session", json={"key": f"{secret}x"}, timeout=60)
        time.sleep(0.2)
    log = (home / "stderr").read_text()
    assert '"/score"' in log
    assert '"/session"' in log
    for hidden in (secret, session, signed_in.json()["csrf"]):
        assert hidden not in log
    assert not re.search(r"\bnn_[A-Za-z0-9_-]{20,}", log)


@pytest.mark.parametrize(
    "url", ["postgresql://ann:hunter2@127.0.0.1:1/x", "mysql://ann:hunter2@h/x", "hunter2"]
)
def test_a_databases_password_is_in_no_message(tmp_path: Path, url: str) -> None:
    with pytest.raises(NearnormError) as told:
        Services(Settings(home=tmp_path, database_url=url)).start(dict)
    assert "hunter2" not in str(told.value)
