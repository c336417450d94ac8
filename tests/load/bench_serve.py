"""`make bench-serve`: /score against its yardsticks and its peers, on this machine.

Everything is on: event log, metrics, policy, drift. About ten minutes, and some more the first time, when
the peers are installed.
"""

import argparse
import compileall
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.load import closed, curve
from tests.load.aims import aims
from tests.load.peers.programs import peers
from tests.load.servers import empty, nearnorm, route, running, trained, tutorial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--curve-rounds", type=int, default=3, help="0 leaves the open loop out")
    parser.add_argument("--model", type=Path, default=Path("build/bench-serve"), help="kept between runs")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/latency.png"))
    parser.add_argument("--out", type=Path, help="every round as JSON")
    given = parser.parse_args()
    started = time.monotonic()
    for room in ("service", "models", "tests/load"):  # as what pip installs is: else a start compiles them
        compileall.compile_dir(room, quiet=1)
    bundle = trained(given.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        programs = [nearnorm(bundle, folder / "home"), empty(), tutorial(bundle), route(bundle)]
        with running([*programs, *peers(bundle, folder)]) as servers:
            found = closed.measure(bundle, servers, given.rounds, given.seconds, folder)
            points = curve.trace(servers, found, given.curve_rounds, given.seconds)
            print(f"{platform.machine()}, {os.cpu_count()} CPUs, load average {os.getloadavg()[1]:.1f}")
            print(f"{given.rounds} rounds of {given.seconds} s, medians\n")
            print(closed.table(found), end="\n\n")
            print(curve.table(points), end="\n\n")
            print("| server | start to first answer, s | RSS then, MB | RSS after the load, MB |")
            print("|---|---|---|---|")
            for server in servers:
                then, now = server.rss_at_start, server.rss
                print(f"| {server.name} | {server.seconds_to_start:.2f} | {then:.0f} | {now:.0f} |")
            print(f"\n{aims(found, points, servers[0])}")
    if points:
        curve.draw(points, given.plot)
    if given.out:
        cells = [
            {"size": cell.size.name, "form": cell.form, "server": cell.server, "rounds": list(map(asdict, r))}
            for cell, r in found.rounds.items()
        ]
        given.out.write_text(json.dumps({"closed": cells, "open": list(map(asdict, points))}, indent=1))
    print(f"took {(time.monotonic() - started) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
