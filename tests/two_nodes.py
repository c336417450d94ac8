"""A Ray cluster of two nodes on this machine, run by a process of its own.

python -m tests.two_nodes: prints the address; a line on stdin kills the second node, the end of stdin all.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class TwoNodes:
    """Each has one CPU. `address` is where the cluster is reached."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self.address = self._stdout.readline().strip()

    def kill_one(self) -> None:
        self._stdin.write("kill\n")
        self._stdin.flush()
        assert self._stdout.readline() == "killed\n"


@contextmanager
def two_nodes(variables: Mapping[str, str]) -> Iterator[TwoNodes]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.two_nodes"],
        cwd=Path(__file__).parents[1],
        env={**variables, "RAY_USAGE_STATS_ENABLED": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:  # the end of its stdin ends it
        yield TwoNodes(process)


def main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = cluster.add_node(num_cpus=1)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
