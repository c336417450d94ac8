"""How CSV files are written, where their user says so; what is None is found in each file."""

from pydantic import BaseModel, ConfigDict


class FileFormat(BaseModel):
    """`separator` and `quote` are one character, `encoding` is a name that Python knows, `decimal` is the
    decimal sign. None: found."""

    model_config = ConfigDict(frozen=True)

    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    quote: str | None = None


FOUND = FileFormat()
