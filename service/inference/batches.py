"""Many rows through the engine, one batch after the other."""

from nearnorm.service.inference.engine import Engine
from nearnorm.service.inference.outputs import Outputs, concatenated
from nearnorm.service.records.encoded import Rows

BATCH_ROWS = 8192


def score_rows(engine: Engine, rows: Rows) -> Outputs:
    starts = range(0, len(rows), BATCH_ROWS)
    return concatenated([engine.run(rows.part(start, start + BATCH_ROWS)) for start in starts])
