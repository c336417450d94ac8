"""The peers of the benchmark, each in a virtual environment of its own: they pin what we do not.

The environments are made once, in .peers/ of the working tree, and never touch this one.
"""

import json
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort

from nearnorm.models.bundle.bundle import MODEL, Bundle
from tests.load.servers import Program

HERE = Path(__file__).parent
KEPT = Path(".peers")
RUNTIME = f"onnxruntime=={ort.__version__}"  # the same as ours
REQUIREMENTS = {"mlserver": ("mlserver==1.7.1", RUNTIME), "kserve": ("kserve==0.21.0", RUNTIME)}
PATIENCE = 600.0  # seconds that an installation may take
MLSERVER = {  # measured best of 16 or 64 requests and 0.2, 1 or 5 ms, and of none
    "max_batch_size": 64,
    "max_batch_time": 0.001,
}


def peers(bundle: Bundle, folder: Path) -> list[Program]:
    """Those that can be installed; which cannot, and why, is told on stderr."""
    found = []
    if python := _environment("mlserver"):
        found.append(_mlserver(python, bundle.path / MODEL, folder / "mlserver"))
    if python := _environment("kserve"):
        command = (str(python), str(HERE / "server_kserve.py"), "--http_port", "{port}")
        model = str((bundle.path / MODEL).absolute())
        found.append(Program("kserve", (*command, model), frozenset({"instances"}), {}))
    return found


def _environment(peer: str) -> Path | None:
    """The Python of a peer's environment, made where it is not there yet."""
    folder = (KEPT / peer).absolute()
    python, wanted = folder / "bin" / "python", "\n".join(REQUIREMENTS[peer])
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"installing {', '.join(REQUIREMENTS[peer])} into {KEPT / peer}: a minute or two", file=sys.stderr)
    try:
        make = [sys.executable, "-m", "venv", "--clear", str(folder)]
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (make, [*install, *REQUIREMENTS[peer]]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.CalledProcessError as error:
        why = (error.stderr or error.stdout).strip().splitlines()
        print(f"{peer} is left out, it cannot be installed: {why[-1] if why else error}", file=sys.stderr)
        return None
    except subprocess.TimeoutExpired:
        print(f"{peer} is left out, it was not installed in {PATIENCE:.0f} s", file=sys.stderr)
        return None
    stamp.write_text(wanted)
    return python


def _mlserver(python: Path, model: Path, folder: Path) -> Program:
    """One process without parallel workers: they pass every tensor through a pipe."""
    folder.mkdir()
    settings = {"debug": False, "host": "127.0.0.1", "parallel_workers": 0, "gzip_enabled": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    served = {
        "name": "bench",
        "implementation": "runtime_mlserver.Prototypes",
        "parameters": {"uri": str(model.absolute())},
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
