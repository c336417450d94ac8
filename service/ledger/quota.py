"""What a key may ask for, as it is stored with it."""

from msgspec import Struct
from msgspec.structs import asdict

MOST = 2**63 - 1
"""What a column of the ledger holds."""


class Quota(Struct, frozen=True):
    """None: as the service's settings say."""

    rows_per_second: int | None = None
    requests_per_second: int | None = None
    rows_per_request: int | None = None
    bytes_per_request: int | None = None

    def limits(self) -> dict[str, int]:
        """Those that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, default: "Quota") -> "Quota":
        """This quota, and the default's limits where it has none."""
        return Quota(**(default.limits() | self.limits()))
