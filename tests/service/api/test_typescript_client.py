"""openapi-typescript types /score's answer by the document: a program that uses it compiles and runs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.environments import modules_of
from tests.service.asking import STRANGE

PROGRAM = Path(__file__).with_name("score.ts").read_text()
GLOBALS = "declare const process: { argv: [string, string, string, string] };\n"  # all it asks of Node
WRONG = {
    "verdict: boolean = row.anomaly": "verdict: string = row.anomaly",
    "kept: string | undefined = row.event_id": "kept: string = row.event_id",
    "reason.feature": "reason.faeture",
    "row.error.type": "row.error.kind",
    "row.reasons ?? []": "row.reasons",
    "(number | null)[] = data": "number[] = data",
    'client.POST("/score"': 'client.POST("/scores"',
}
"""What does not go with the answer, in place of what does."""
STRICT = (
    *("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--skipLibCheck"),
    *("--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"),
)


@pytest.fixture(scope="module")
def project(client: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the types that were generated, and what the program is compiled with."""
    modules, folder = modules_of("typescript"), tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(modules)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "globals.d.ts").write_text(GLOBALS)
    (folder / "openapi.json").write_bytes(client.get("/openapi.json").content)
    made = run(folder, "openapi-typescript", "openapi.json", "--output", "service.d.ts")
    assert made.returncode == 0, made.stderr
    return folder


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    found = f"node_modules/.bin/{program}"
    return subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def faults(project: Path) -> set[str]:
    """The programs that the compiler has something against: what is wrong with them, "" for the right one."""
    sources = {"score": ""} | {f"wrong{place}": right for place, right in enumerate(WRONG)}
    for name, right in sources.items():
        (project / f"{name}.ts").write_text(PROGRAM.replace(right, WRONG[right]) if right else PROGRAM)
    told = run(project, "tsc", *STRICT, "globals.d.ts", *(f"{name}.ts" for name in sources)).stdout
    print(told)  # for who reads a failure
    return {sources[line.partition(".ts(")[0]] for line in told.splitlines() if "error TS" in line}


def test_a_program_with_the_generated_types_compiles(faults: set[str]) -> None:
    assert "" not in faults


@pytest.mark.parametrize("right", WRONG)
def test_a_program_that_takes_the_answer_for_something_else_does_not_compile(
    faults: set[str], right: str
) -> None:
    assert right in PROGRAM
    assert right in faults


@pytest.mark.usefixtures("faults")
def test_the_program_prints_what_score_answers(client: httpx.Client, project: Path) -> None:
    body = {"records": [STRANGE, {"amount": "much"}], "ids": ["odd", 7], "explain": True}
    odd = client.post("/score", json=body).json()["results"][0]
    first, second = printed(client, project, body).splitlines()
    why = ", ".join(f"{reason['feature']} {reason['effect']:.4f}" for reason in odd["reasons"])
    assert odd["reasons"]
    assert first.startswith(f"odd: true {odd['percentile']:.2f} ")
    assert first.endswith(f"[{why}]")
    assert "not kept" not in first  # it raised an alert
    assert second == "7: urn:nearnorm:problem:invalid-value in amount"
    columns = {"columns": {name: [value, []] for name, value in STRANGE.items()}}
    assert printed(client, project, columns) == "2 rows, 1 without: 1 amount"
    wrong = {"records": [STRANGE], "ids": [[]]}
    assert printed(client, project, wrong).startswith("422 urn:nearnorm:problem:invalid-request: ids")


def printed(client: httpx.Client, project: Path, body: dict[str, Any]) -> str:
    command = ["node", "score.js", str(client.base_url).rstrip("/"), json.dumps(body)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
