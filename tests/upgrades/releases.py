"""Every release there was, as the wheel that it was: what runs in a service that nobody has upgraded yet.

A wheel is built from the commit of its release: git archive COMMIT, unpacked, pip wheel --no-deps. It runs
on the packages that are installed now.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "releases"
COMMITS = {"0.1.0": "a6f189311bb59d14c55c2839aac8b9a158903840"}


@dataclass(frozen=True)
class Release:
    wheel: Path

    @property
    def version(self) -> str:
        return self.wheel.name.split("-")[1]

    @property
    def revision(self) -> str:
        """The newest migration of the ledger that it knows."""
        with zipfile.ZipFile(self.wheel) as archive:
            found: list[str] = re.findall(
                r"service/ledger/migrations/versions/(\d{4})_", " ".join(archive.namelist())
            )
        return max(found)

    def unpack(self, folder: Path) -> dict[str, str]:
        """What a process has in its environment that runs this release."""
        with zipfile.ZipFile(self.wheel) as archive:
            archive.extractall(folder)
        return {"PYTHONPATH": str(folder)}


RELEASES = [Release(wheel) for wheel in sorted(FOLDER.glob("*.whl"))]
