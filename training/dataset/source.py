"""How a manifest names its base data, and where that lies."""

from pathlib import Path

import nearnorm.training
from nearnorm.models.errors import ConfigError, DataError

ROOT = Path(nearnorm.training.__file__).parent.parent
"""Where the packages lie, and with them the base data of the starter model."""


IN_MEMORY = "memory://"
"""How the source of rows begins that came from no file, such as the frame of a notebook."""


def recorded(source: str) -> str:
    """How a manifest names its data, so that a worker elsewhere on this machine finds it: in full, or
    beside the packages, wherever those are installed. A URL is the same everywhere."""
    if "://" in source:
        return source
    path = Path(source).absolute()
    for folder in (ROOT / "training", (ROOT / "training").resolve()):  # in a checkout it is a link
        if path.is_relative_to(folder):
            return str("training" / path.relative_to(folder))
    return str(path)


def refuse_data_within(folder: Path, *sources: str | None) -> None:
    """Raise ConfigError where a source lies in the folder that is about to be written: it would be lost."""
    for source in sources:
        if source is not None and "://" not in source and folder.resolve() in Path(source).resolve().parents:
            raise ConfigError(
                f"--out {folder} is where {source} lies, and would be written over: name another"
            )


def resolve(source: str) -> str:
    """Where base data lies that a manifest names. Raises DataError where it lay in the memory of a process
    that is gone."""
    if source.startswith(IN_MEMORY):
        raise DataError(
            "the model was trained on a frame in memory, which no retraining can read: write its rows and "
            "labels to a file, and name that by NEARNORM_TRAINING_DATA (known normals by "
            "NEARNORM_REFERENCE_DATA)"
        )
    if "://" in source:
        return source
    path = Path(source)
    return source if path.is_absolute() else str(ROOT / path)
