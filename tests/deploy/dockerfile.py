"""As much of a Dockerfile as the tests ask about: stages, their parents and their instructions."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stage:
    name: str
    parent: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [argument for word, argument in self.instructions if word == keyword]


def stages() -> dict[str, Stage]:
    """The stages of the repository's Dockerfile, by name."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, argument = line.partition(" ")
        if word == "FROM":
            parent, _, name = argument.split()
            found[name] = Stage(name, parent)
        else:
            next(reversed(found.values())).instructions.append((word, argument.strip()))
    return found


def lineage(target: str) -> list[Stage]:
    """The stage and those it is built on, base first."""
    known, chain, name = stages(), list[Stage](), target
    while name in known:
        chain.insert(0, known[name])
        name = known[name].parent
    return chain


def last(target: str, keyword: str) -> str | None:
    """The argument of the instruction that holds for the finished image, inherited ones included."""
    arguments = [argument for stage in lineage(target) for argument in stage.all(keyword)]
    return arguments[-1] if arguments else None


def environment(target: str) -> dict[str, str]:
    pairs = [pair for stage in lineage(target) for line in stage.all("ENV") for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def install_command(target: str) -> str:
    """The `pip install` line of the stage that a target copies its environment from."""
    source = next(
        argument.split()[0].removeprefix("--from=")
        for stage in lineage(target)
        for argument in stage.all("COPY")
        if argument.endswith("/opt/nearnorm /opt/nearnorm")
    )
    (command,) = [line for line in stages()[source].all("RUN") if line.startswith("pip install")]
    return command


def command(target: str) -> list[str]:
    words: list[str] = json.loads(last(target, "CMD") or "[]")
    return words
