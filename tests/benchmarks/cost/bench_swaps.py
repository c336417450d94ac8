"""Swaps under load: does one of them fail a request, and does memory grow?

    python -m tests.benchmarks.cost.bench_swaps --swaps 200

wrk holds 64 connections on POST /score while two versions are activated in turn over HTTP. Needs wrk.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

from nearnorm import Client
from nearnorm.models.store.folder import ModelStore
from tests.journey.loop import running
from tests.load.wrk import Load, write_script
from tests.service.bundles import make_bundle

CONNECTIONS = 64
RECORD = {"amount": 50.0, "country": "DE", "channel": "web"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--swaps", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = ModelStore(folder / "home" / "models")
        versions = [store.publish(make_bundle(folder / str(seed), seed=seed).path) for seed in (0, 1)]
        store.activate(versions[0], by="bench")
        with running(folder / "home", worker="off") as url, Client(url) as client:
            body = json.dumps({"records": [RECORD]}).encode()
            script = write_script(Load("swaps", CONNECTIONS, 1, "/score", "application/json", [body]), folder)
            command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d600s", "-s", str(script), url]
            load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            memory = []
            for number in range(given.swaps):
                version = versions[(number + 1) % 2]
                client.activate(version)
                assert client.score([RECORD]).version == version
                if number % 20 == 19:
                    memory.append(resident(client.request("GET", "/metrics")))
            load.send_signal(2)  # wrk tells its figures on an interrupt
            told = load.communicate()[0]
    failed = sum(
        int(n)
        for n in re.findall(r"(?:Non-2xx or 3xx responses: |connect |read |write |timeout )(\d+)", told)
    )
    requests = re.search(r"(\d+) requests in", told)
    assert requests is not None, told
    print(
        json.dumps({"swaps": given.swaps, "requests": int(requests[1]), "failed": failed, "rss_mb": memory})
    )


def resident(metrics: str) -> float:
    found = re.search(r"^process_resident_memory_bytes (\S+)", metrics, flags=re.M)
    assert found is not None
    return round(float(found[1]) / 2**20, 1)


if __name__ == "__main__":
    main()
