"""Break a module in one place after the other, and list what its tests do not notice.

    python -m tests.mutation.mutate models/conformal.py tests/models/test_conformal.py
    python -m tests.mutation.mutate --most 40 'service/events/*.py' tests/service/events -k 'not postgresql'

Needs `pip install mutmut`. It works in a copy of the checkout: nothing here is changed. `--most` draws so
many of the mutants, the same ones each time: where tests start services, all take hours.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main(module: str, tests: list[str], most: int | None) -> None:
    path = f"src/nearnorm/{module}"  # mutmut takes a module's name from its path, and follows no links
    whole = str(Path(path).parent) if "*" in path else path
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "tests", "training/samples"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        settings = (
            f'\n[tool.mutmut]\nsource_paths = ["{whole}"]\nonly_mutate = ["{path}"]\n'
            'also_copy = ["src", "tests", "training", "pyproject.toml"]\n'
            f"pytest_add_cli_args_test_selection = {tests!r}\n"
        )
        (copy / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + settings)

        def mutmut(*words: str, may_fail: bool = False) -> str:
            done = subprocess.run(
                ("nice", "-n", "10", sys.executable, "-m", "mutmut", *words),
                cwd=copy,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                text=True,
                capture_output=True,
            )
            if done.returncode and not may_fail:
                sys.exit(f"mutmut {' '.join(words)}:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}")
            return done.stdout

        drawn: list[str] = []
        if most is not None:
            mutmut("run", "none of them", may_fail=True)  # it makes them before it looks for this one
            metas = sorted((copy / "mutants").rglob("*.meta"))
            made = [name for meta in metas for name in json.loads(meta.read_text())["exit_code_by_key"]]
            drawn = random.Random(0).sample(made, min(most, len(made)))  # noqa: S311 - no secret
        counts = re.findall(r"\d+/\d+  .*", mutmut("run", "--max-children", "2", *drawn))[-1]
        for line in mutmut("results").splitlines():
            if line.strip() and not line.endswith((": killed", ": not checked")):
                sys.stdout.write(f"{line.strip()}\n{mutmut('show', line.split(':')[0].strip())}\n")
        sys.stdout.write(f"{module}: {counts}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int)
    parser.add_argument("module")
    known, rest = parser.parse_known_args()
    main(known.module, rest, known.most)
