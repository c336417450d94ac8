"""Environments of their own for what is tried against the real other side, Python's and Node's: they pin what
we do not.

`make environments` makes them once, in .peers/ of the working tree; they never touch this one. Without one,
what it is for is skipped.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

KEPT = Path(__file__).parent.parent / ".peers"
RUNTIME = f"onnxruntime=={ort.__version__}"  # the same as ours
NEARNORM = (
    RUNTIME,
    *("alembic", "msgspec", "pandas", "pyarrow", "pydantic-settings", "pysimdjson"),
    *("rich", "sqlalchemy", "structlog", "typer"),
)
"""What it needs there to score and to import."""
REQUIREMENTS = {
    "kserve": ("kserve==0.21.0", RUNTIME),
    "mlserver": ("mlserver==1.7.1", RUNTIME),
    "pyod": ("pyod==3.6.7",),
    "mlflow": ("mlflow-skinny==3.17.2", *NEARNORM),
    "spark": ("pyspark==4.3.0", "pandas<3", *NEARNORM),  # it warns of newer ones
}
NODE_REQUIREMENTS = {
    "typescript": ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3"),
}
PATIENCE = 900.0  # seconds that an installation may take


class NotMade(Exception):
    """An environment could not be installed. The message says why."""


def python_of(name: str) -> Path:
    """The Python of an environment; the test is skipped where it was not made."""
    if not _is_made(name):
        pytest.skip(f"no environment for {name}: make environments")
    return _python(name)


def modules_of(name: str) -> Path:
    """An environment's node_modules; the test is skipped where it was not made, or there is no Node."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed: apt-get install nodejs npm")
    if not _is_made(name):
        pytest.skip(f"no environment for {name}: make environments")
    return KEPT / name / "node_modules"


def missing() -> list[str]:
    """A line where an environment was not made."""
    absent = [name for name in (*REQUIREMENTS, *NODE_REQUIREMENTS) if not _is_made(name)]
    what = ", ".join(absent)
    return [f"without environments of their own (make environments) {what} are not tried"] if absent else []


def make(name: str) -> Path:
    """Install an environment of Python's where it is not there yet; its Python. Raises NotMade."""
    venv = [sys.executable, "-m", "venv", "--clear", str(KEPT / name)]
    install = [str(_python(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _install(name, venv, [*install, *REQUIREMENTS[name]])
    return _python(name)


def make_node(name: str) -> None:
    """Install an environment of Node's where it is not there yet. Raises NotMade."""
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    _install(name, [*install, "--prefix", str(KEPT / name), *NODE_REQUIREMENTS[name]])


def _install(name: str, *commands: list[str]) -> None:
    if _is_made(name):
        return
    wanted = _wanted(name)
    print(f"==> Installing {', '.join(wanted)} into .peers/{name}: a minute or two", file=sys.stderr)
    (KEPT / name).mkdir(parents=True, exist_ok=True)
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.CalledProcessError as error:
        why = (error.stderr or error.stdout).strip().splitlines()
        raise NotMade(f"{name} cannot be installed: {why[-1] if why else error}") from error
    except FileNotFoundError as error:
        raise NotMade(f"{name} cannot be installed: {error.filename} is not there") from error
    except subprocess.TimeoutExpired as error:
        raise NotMade(f"{name} was not installed in {PATIENCE:.0f} s") from error
    _stamp(name).write_text("\n".join(wanted))


def _wanted(name: str) -> tuple[str, ...]:
    return (REQUIREMENTS | NODE_REQUIREMENTS)[name]


def _is_made(name: str) -> bool:
    stamp = _stamp(name)
    return stamp.is_file() and stamp.read_text() == "\n".join(_wanted(name))


def _python(name: str) -> Path:
    return KEPT / name / "bin" / "python"


def _stamp(name: str) -> Path:
    return KEPT / name / "installed"


def main(names: list[str]) -> None:
    """Make those that are named, or all that this machine has programs for; 1 where one cannot be made."""
    of_node = NODE_REQUIREMENTS if shutil.which("npm") else {}
    try:
        for name in names or (*REQUIREMENTS, *of_node):
            make(name) if name in REQUIREMENTS else make_node(name)
    except NotMade as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main(sys.argv[1:])
