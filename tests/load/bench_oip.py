"""`make bench-oip`: the Open Inference Protocol beside KServe's and MLServer's own servers, by turns.

All answer the same tensors with the same model. Ours has everything on: event log, metrics, policy, drift.
About four minutes, and some more the first time, when the others are installed.
"""

import argparse
import os
import platform
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.load import closed
from tests.load.closed import ratio
from tests.load.loads import SIZES
from tests.load.peers.programs import peers
from tests.load.servers import nearnorm, running, trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    given = parser.parse_args()
    bundle = trained(given.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = [nearnorm(bundle, folder / "home"), *peers(bundle, folder)]
        alike = [replace(program, forms=frozenset({"tensors"})) for program in programs]
        with running(alike, first_port=18_330) as servers:
            found = closed.measure(bundle, servers, given.rounds, given.seconds, folder)
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}")
    print(f"{given.rounds} rounds of {given.seconds} s, medians\n\n{closed.table(found)}\n")
    for size in SIZES:
        for other in (program.name for program in alike[1:]):
            seen = ratio(found.of(size, "nearnorm"), found.of(size, other))
            print(f"{size.name}: {seen:.2f} times {other}: {'ahead' if seen > 1 else 'BEHIND'}")


if __name__ == "__main__":
    main()
