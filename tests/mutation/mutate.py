"""Break a module in one place after the other, and list what its tests do not notice.

    python -m tests.mutation.mutate models/conformal.py tests/models/test_conformal.py

Needs `pip install mutmut`. It works in a copy of the checkout: nothing here is changed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(module: str, tests: list[str]) -> None:
    path = f"src/nearnorm/{module}"  # mutmut takes a module's name from its path, and follows no links
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        settings = (
            f'\n[tool.mutmut]\nsource_paths = ["{path}"]\nonly_mutate = ["{path}"]\n'
            'also_copy = ["src", "tests", "pyproject.toml"]\n'
            f"pytest_add_cli_args_test_selection = {tests!r}\n"
        )
        (copy / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + settings)

        def mutmut(*words: str) -> str:
            done = subprocess.run(
                ("nice", "-n", "10", sys.executable, "-m", "mutmut", *words),
                cwd=copy,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                text=True,
                capture_output=True,
            )
            if done.returncode:
                sys.exit(f"mutmut {' '.join(words)}:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
            return done.stdout

        counts = mutmut("run", "--max-children", "2").splitlines()[-2].split("\r")[-1]
        for line in mutmut("results").splitlines():
            if line.strip() and not line.endswith(": killed"):
                sys.stdout.write(f"{line.strip()}\n{mutmut('show', line.split(':')[0].strip())}\n")
        sys.stdout.write(f"{module}: {counts}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
