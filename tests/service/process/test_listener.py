"""Where a service listens, as a URL."""

import pytest

from nearnorm.models.errors import ConfigError
from nearnorm.service.process.listener import listen, url_of


@pytest.mark.parametrize(("host", "begin"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_url_is_one_whatever_the_address(host: str, begin: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"{begin}{port}"
        address = f"{begin}{port}".removeprefix("http://").replace("[", r"\[").replace("]", r"\]")
        listener.listen()
        with pytest.raises(ConfigError, match=f"cannot listen on {address}"):
            listen(host, port)
