"""What MLflow loads of an exported bundle: it calls `_load_pyfunc` by its name, which MLmodel has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from nearnorm.models.bundle.bundle import read_bundle
from nearnorm.models.data.frames import read_frame
from nearnorm.models.errors import ConfigError
from nearnorm.service.batch.scorer import Scorer
from nearnorm.service.verdict.offline import without_ledger


class ScoringModel:
    """Frames in, scores and verdicts out: a row a record, as `nearnorm score` writes them."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401
        """A pandas frame with a row for each of a frame's. A row with an error has it in `error`, and no
        score; a column that is not there is missing. Raises DataError for what is no frame."""
        table = read_frame(model_input, "the frame").table
        import pandas as pd  # type: ignore[import-untyped]  # whoever loads it by MLflow has it

        found = pa.table(self._scorer.columns(self._scorer.score(table)))
        frame = found.to_pandas()
        for name in found.column_names:
            if found.column(name).null_count:  # None: MLflow's server writes NaN as it is, which is no JSON
                frame[name] = pd.Series(found.column(name).to_pylist(), dtype=object)
        return frame


def _load_pyfunc(data_path: str, model_config: Mapping[str, Any] | None = None) -> ScoringModel:
    """`model_config` may hold a `budget`, such as "2% of normal". Raises BundleError, ConfigError."""
    given = dict(model_config or {})
    budget = given.pop("budget", None)
    if given:
        raise ConfigError(f"model_config has no key {min(given)!r}: there is `budget`")
    bundle = read_bundle(Path(data_path))
    return ScoringModel(Scorer(bundle, without_ledger(bundle.manifest, budget), "cpu"))
