"""Work on pieces that stops at a gate, so that a test can kill a node in the middle of it.

python -m tests.training.dataset.lake.gated ADDRESS LAKE GATE: prints, as JSON, what came of the pieces.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nearnorm.models.data.files.parts import FilePiece, Piece, open_parts
from nearnorm.training.dataset.lake.on_ray import on_ray

PLACES = 3
"""What each piece has, the last of them behind the gate."""


@dataclass(frozen=True)
class Gated:
    """The gate is a folder: a task tells its node and piece there. In the first piece and the fourth it waits
    until a file `open` is in it."""

    gate: Path

    def __call__(self, piece: Piece) -> Iterator[tuple[str, int, pa.Table]]:
        import ray

        assert isinstance(piece, FilePiece)
        name = Path(piece.file.name).stem
        (table,) = piece(["x"])
        for place in range(PLACES):
            if place == PLACES - 1:
                (self.gate / f"{ray.get_runtime_context().get_node_id()}.{name}").touch()
                while name in ("0", "3") and not (self.gate / "open").exists():
                    time.sleep(0.01)
            yield name, place, table


def main(address: str, lake: str, gate: str) -> None:
    with on_ray(address) as engine:
        found = [
            [name, place, pc.sum(table["x"]).as_py()]
            for name, place, table in engine(Gated(Path(gate)), open_parts(lake).pieces)
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
