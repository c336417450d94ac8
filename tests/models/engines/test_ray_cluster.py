"""A Ray cluster that is not where it was said to be."""

import pytest

from nearnorm.models.engines.ray_cluster import ray_cluster
from nearnorm.models.errors import ConfigError


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.0.0.1:99999"])
def test_where_nobody_listens_no_cluster_is_waited_for(address: str) -> None:
    with (
        pytest.raises(ConfigError, match="no Ray cluster answers there") as told,
        ray_cluster(address, None, ""),
    ):
        pass
    assert address in str(told.value)
    assert "timed out" not in str(told.value)
