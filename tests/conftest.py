"""What a run says before it starts."""

from tests import environments, programs


def pytest_report_header() -> list[str]:
    """What will be skipped on this machine, and what to install for it."""
    return programs.missing() + environments.missing()
