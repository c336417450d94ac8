"""Programs beside Python's packages that the tests want: without one, what it is for is skipped."""

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    name: str
    package: str
    """What to install: its Debian package, or where it comes from."""
    without: str
    """What does not run."""

    @property
    def absent(self) -> bool:
        return shutil.which(self.name) is None


PROGRAMS = (
    Program("promtool", "apt-get install prometheus", "the alert rules are not tried"),
    Program("prometheus", "apt-get install prometheus", "the dashboard's queries are not tried"),
    Program("amtool", "apt-get install prometheus-alertmanager", "Alertmanager's route is not checked"),
    Program("chromium", "apt-get install chromium", "no page is opened in a browser"),
    Program("node", "apt-get install nodejs npm", "no TypeScript client is generated and compiled"),
    Program("java", "apt-get install default-jre-headless", "Spark's recipe is not tried"),
    Program("wrk", "apt-get install wrk", "the load benchmarks (make bench-serve) do not run"),
    Program("kubectl", "Kubernetes' own download", "the overlays are not built"),
)


def missing() -> list[str]:
    """A line for each program that is not there."""
    return [f"without {p.name} ({p.package}) {p.without}" for p in PROGRAMS if p.absent]
