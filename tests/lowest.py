"""The oldest release that pyproject.toml allows of every package that the service needs, a line each.

And of pandas, as tests hand its frames to the oldest pyarrow, which warns where a newer one reads it.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("cpu", "arrow", "postgres", "oidc", "otel", "s3", "signatures")


def lowest() -> Iterator[str]:
    """Requirements that pin each lower bound. Each has one."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [one for name in EXTRAS for one in extras[name]]
    wanted += [one for one in extras["dev"] if one.startswith("pandas")]
    for requirement in map(Requirement, wanted):
        bound = next(one.version for one in requirement.specifier if one.operator == ">=")
        with_extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        yield f"{requirement.name}{with_extras}=={bound}"


if __name__ == "__main__":
    print("\n".join(lowest()))
