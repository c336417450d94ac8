"""About how much memory a model takes, by the sizes of its files: measured on models of 24 and 49 kB."""

from nearnorm.models.bundle.bundle import MANIFEST, Bundle

SESSION = 500_000
"""Bytes of a session of onnxruntime, a batcher and the rest, whatever the model."""
OF_GRAPH, OF_MANIFEST = 8, 2
"""Bytes in memory for one of the file."""


def bytes_of(bundle: Bundle) -> int:
    """Raises OSError."""
    manifest = (bundle.path / MANIFEST).stat().st_size
    return SESSION + OF_GRAPH * len(bundle.model) + OF_MANIFEST * manifest
