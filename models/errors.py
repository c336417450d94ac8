"""Mistakes a user can mend, each told in one sentence.

NearnormError
├── DataError      a data file or its columns
├── ConfigError    a configuration file or an option
├── BundleError    a model bundle that is incomplete, changed or unknown
└── StoreError     the model store and its activation log
    └── StoreOutOfReach    it cannot be read or written now
"""


class NearnormError(Exception):
    """The message names the field or file and the mend; the command line prints it and exits with 2.

    It is one line: a line break in what it quotes, a column's name for one, is written as a space.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


class DataError(NearnormError): ...


class ConfigError(NearnormError): ...


class BundleError(NearnormError): ...


class StoreError(NearnormError): ...


class StoreOutOfReach(StoreError): ...
