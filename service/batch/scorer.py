"""Batch scorer: a bundle and Arrow tables in, the service's numbers and verdicts out.

`nearnorm score`, the estimator and whatever runs over frames by itself score through it: one session each.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
from msgspec import Struct
from numpy.typing import NDArray

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.data.records import records
from nearnorm.models.data.schema import UNKNOWN_CODE, FeatureSchema
from nearnorm.models.data.tables import Arrays, RowError, to_arrays
from nearnorm.service.inference.batches import score_rows
from nearnorm.service.inference.engine import Device, Engine, cpus
from nearnorm.service.inference.outputs import Outputs
from nearnorm.service.records.encoded import Rows
from nearnorm.service.records.shapes import Reason
from nearnorm.service.verdict.novelty import Novel, Novelty, NoveltyWatch
from nearnorm.service.verdict.offline import OfflineVerdict
from nearnorm.service.verdict.reasons import Explainer

ANSWERS = pa.schema(
    {
        "score": pa.float64(),
        "percentile": pa.float64(),
        "anomaly": pa.bool_(),
        "prototype": pa.int64(),
        "distance": pa.float64(),
        "reconstruction_error": pa.float64(),
        "novel": pa.string(),
        "novel_distance": pa.bool_(),
        "error": pa.string(),
    }
)
"""What each row gets, in this order."""
WATCHED_TOGETHER = 1024
"""Rows after which novelty that has become usual ceases to alert: those of the service's largest batch."""


class ScoredTable(Struct, eq=False):
    """N rows as the model answered them: `outputs` by name, `percentile` [N] in 0..100, `anomaly` [N], what
    is `novel` by row. Of a row in `errors` the numbers mean nothing."""

    outputs: Outputs
    percentile: NDArray[np.float64]
    anomaly: NDArray[np.bool_]
    novel: Novel
    errors: Mapping[int, RowError]

    def __len__(self) -> int:
        return len(self.percentile)


class Scorer:
    """One bundle's session, and a verdict. May be called from several threads at once."""

    def __init__(
        self, bundle: Bundle, verdict: OfflineVerdict, device: Device = "auto", threads: int | None = None
    ) -> None:
        """`threads`: as many as there are CPUs unless told otherwise.

        Raises BundleError for a model that does not answer here as it did when it was made, ConfigError for
        a device that is not there."""
        core = bundle.manifest.core
        self.schema = core.features
        self.verdict = verdict
        self._ranks = verdict.ranks
        self._engine = Engine(bundle, device, threads or cpus())
        self._novelty = Novelty(core)
        self._explainer = Explainer(core, self._engine.run)

    def score(self, table: pa.Table, watch: NoveltyWatch | None = None) -> ScoredTable:
        """Score rows by the schema: columns by name, in any order, one that is not there is missing.

        What is novel is an anomaly, whatever other rows there are; with a `watch` it is one until there is so
        much of it that it is how the traffic is, as in the service.
        """
        arrays = to_arrays(table, self.schema)
        rows = Rows(arrays.numeric, arrays.codes)
        outputs = score_rows(self._engine, rows)
        percentile, anomaly = self._ranks.judge(outputs.score)
        found = self._novelty.find(rows, outputs.distance)
        novel = {row: signals for row, signals in found.items() if row not in arrays.errors}
        if self.verdict.alert_on_novel:
            if watch is None:
                anomaly[list(novel)] = True
            else:
                _alert(anomaly, novel, watch)
        return ScoredTable(outputs, percentile, anomaly, novel, arrays.errors)

    def explain(self, table: pa.Table) -> list[list[Reason]]:
        """The reasons that `/score` gives with `explain`, a list a row. A row costs what scoring a hundred
        does. Rows with errors have none."""
        arrays = to_arrays(table, self.schema)
        rows = Rows(arrays.numeric, arrays.codes)
        outputs = score_rows(self._engine, rows)
        read = records(self.schema, rows.numeric, rows.codes, _unknown(table, self.schema, arrays))
        explained = self._explainer.explain(rows, outputs)
        residuals = outputs.residual.tolist()
        return [
            [] if row in arrays.errors else self._explainer.reasons(read[row], explained[row], residuals[row])
            for row in range(len(rows))
        ]

    def columns(self, scored: ScoredTable) -> dict[str, pa.Array]:
        """As columns of a table, null where a row has an error, which the column `error` tells."""
        novelty, outputs = self._novelty, scored.outputs
        names: dict[int, str] = {}
        far = np.zeros(len(scored), bool)
        for row, signals in scored.novel.items():
            names[row] = ", ".join(novelty.features(signals))
            far[row] = novelty.distance in signals
        failed = np.zeros(len(scored), bool)
        failed[list(scored.errors)] = True
        errors = {row: f"{error.field}: {error.detail}" for row, error in scored.errors.items()}
        return {
            "score": pa.array(outputs.score.astype(np.float64), mask=failed),
            "percentile": pa.array(scored.percentile, mask=failed),
            "anomaly": pa.array(scored.anomaly, mask=failed),
            "prototype": pa.array(outputs.prototype, mask=failed),
            "distance": pa.array(outputs.distance.astype(np.float64), mask=failed),
            "reconstruction_error": pa.array(outputs.reconstruction_error.astype(np.float64), mask=failed),
            "novel": _texts({row: name for row, name in names.items() if name}, len(scored)),
            "novel_distance": pa.array(far, mask=failed),
            "error": _texts(errors, len(scored)),
        }


def _texts(found: Mapping[int, str], rows: int) -> pa.Array:
    """Null but for the rows that are found."""
    if not found:
        return pa.nulls(rows, pa.string())
    return pa.array([found.get(row) for row in range(rows)], pa.string())


def _alert(anomaly: NDArray[np.bool_], novel: Novel, watch: NoveltyWatch) -> None:
    """What is novel is an anomaly, until there is so much of it that it is how the traffic is."""
    for start in range(0, len(anomaly), WATCHED_TOGETHER):
        part = {row: novel[row] for row in range(start, start + WATCHED_TOGETHER) if row in novel}
        anomaly[watch.alerting(part)] = True
        watch.count(min(WATCHED_TOGETHER, len(anomaly) - start), part)


def _unknown(table: pa.Table, schema: FeatureSchema, arrays: Arrays) -> dict[int, dict[str, str]]:
    """Texts of categories that training never saw, by row."""
    found: dict[int, dict[str, str]] = {}
    for feature, codes in zip(schema.categorical, arrays.codes.T, strict=True):
        rows: Iterable[int] = np.flatnonzero(codes == UNKNOWN_CODE).tolist()
        for row in rows:
            if row not in arrays.errors:
                text = feature.coerce(table.column(feature.name)[row].as_py())
                found.setdefault(row, {})[feature.name] = str(text)
    return found
