"""wrk with bodies from Lua: one request after another out of a ring of prepared ones."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Load:
    """`bodies` are sent in turn over `connections`, with `headers` beside what a body needs."""

    name: str
    connections: int
    rows: int
    path: str
    content_type: str
    bodies: Sequence[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Requests per second, milliseconds of the median and the slowest hundredth, and requests in all."""

    rate: float
    p50: float
    p99: float
    requests: int


def write_script(load: Load, folder: Path) -> Path:
    """The Lua script of a load, beside its bodies."""
    names = []
    for number, body in enumerate(load.bodies):
        path = folder / f"{load.name}-{number}.body"
        path.write_bytes(body)
        names.append(str(path))
    headers = {"Content-Type": load.content_type, **load.headers}
    script = folder / f"{load.name}.lua"
    script.write_text(
        f"""
local names = {{{", ".join(json.dumps(n) for n in names)}}}
local ring, at = {{}}, 0
function init(args)
  for i, name in ipairs(names) do
    local file = io.open(name, "rb")
    local headers = {{{", ".join(f"[{json.dumps(n)}] = {json.dumps(v)}" for n, v in headers.items())}}}
    ring[i] = wrk.format("POST", {json.dumps(load.path)}, headers, file:read("*a"))
    file:close()
  end
end
function request()
  at = at % #ring + 1
  return ring[at]
end
"""
    )
    return script


def wrk(load: Load, script: Path, port: int, seconds: int) -> list[str]:
    """The command that sends a load."""
    return [
        "wrk",
        "--threads=1",
        f"--connections={load.connections}",
        f"--duration={seconds}s",
        "--timeout=20s",
        "--latency",
        f"--script={script}",
        f"http://127.0.0.1:{port}{load.path}",
    ]


def run_wrk(load: Load, script: Path, port: int, seconds: int) -> Measured:
    """One round. Raises RuntimeError when anything but 2xx came back."""
    command = wrk(load, script, port, seconds)
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in found or "Socket errors" in found:
        raise RuntimeError(f"{load.name}: {found}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", found)
    count = re.search(r"(\d+) requests in", found)
    assert rate is not None, found
    assert count is not None, found
    return Measured(float(rate[1]), _percentile(found, 50), _percentile(found, 99), int(count[1]))


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"\s{percent}%\s+([\d.]+)(us|ms|s)\b", text)
    assert found is not None, text
    return float(found[1]) * _UNITS[found[2]]
