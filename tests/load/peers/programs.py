"""The peers of the benchmark, each in a virtual environment of its own."""

import json
import sys
from pathlib import Path

from nearnorm.models.bundle.bundle import MODEL, Bundle
from tests.environments import NotMade, make
from tests.load.servers import Program

HERE = Path(__file__).parent
MLSERVER = {  # measured best of 16 or 64 requests and 0.2, 1 or 5 ms, and of none
    "max_batch_size": 64,
    "max_batch_time": 0.001,
}


def peers(bundle: Bundle, folder: Path) -> list[Program]:
    """Those that can be installed; which cannot, and why, is told on stderr."""
    model = (bundle.path / MODEL).absolute()
    found = []
    for name in ("mlserver", "kserve"):
        try:
            python = make(name)
        except NotMade as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        found.append(
            _mlserver(python, model, folder / name) if name == "mlserver" else _kserve(python, model)
        )
    return found


def _kserve(python: Path, model: Path) -> Program:
    command = (str(python), str(HERE / "server_kserve.py"), "--http_port", "{port}", str(model))
    return Program("kserve", command, frozenset({"instances"}), {})


def _mlserver(python: Path, model: Path, folder: Path) -> Program:
    """One process without parallel workers: they pass every tensor through a pipe."""
    folder.mkdir()
    settings = {"debug": False, "host": "127.0.0.1", "parallel_workers": 0, "gzip_enabled": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    served = {
        "name": "default",
        "implementation": "runtime_mlserver.Prototypes",
        "parameters": {"uri": str(model)},
    }
    (folder / "model-settings.json").write_text(json.dumps(served | MLSERVER))
    environment = {
        "PYTHONPATH": str(HERE),
        "MLSERVER_HTTP_PORT": "{port}",
        "MLSERVER_GRPC_PORT": "18298",
        "MLSERVER_METRICS_PORT": "18299",
    }
    command = (str(python.with_name("mlserver")), "start", ".")
    return Program("mlserver", command, frozenset({"tensors"}), environment, folder)
