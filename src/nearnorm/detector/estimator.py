"""NearnormDetector: an outlier detector in scikit-learn's manner, with PyOD's meaning."""

import math
import warnings
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score
from sklearn.utils import ClassifierTags, Tags, check_random_state

from nearnorm.detector.bundled import Bundled, read_files
from nearnorm.detector.columns import by_names
from nearnorm.detector.labels import read_labels
from nearnorm.detector.mistakes import InvalidInput, NearnormWarning, as_value_errors
from nearnorm.detector.recipe import KNOBS, PRESET, Schema, parameters_of, recipe_of
from nearnorm.detector.training import TrainingRows, train
from nearnorm.models.conformal import threshold
from nearnorm.models.data.frames import read_frame
from nearnorm.service.batch.scorer import ScoredTable
from nearnorm.training.dataset.labels import ANOMALY
from nearnorm.training.method.config import Preset

if TYPE_CHECKING:
    from nearnorm.detector.outlier import SklearnOutlier

AsPreset = Literal["preset"]


OfFit = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Scores and verdicts of the rows of a fit."""


class NearnormDetector(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships without types
    """Scores rows by how far they are from every kind of normal: 1 is an anomaly, higher is more anomalous.

    X is a NumPy array, a pandas or polars frame, an Arrow table or a list of records; NaN and None are
    missing values, text is a category. y holds 1 (anomaly), 0 (normal) and NaN (nobody has looked), or is
    left out. A fit gives the model that `nearnorm train` gives for the same rows, scores are those of
    `POST /score`, and `save` writes the bundle that is served.

    Parameters
    ----------
    contamination : share of rows such as the reference's that `predict` calls anomalies, in (0, 1). The
        reference are rows that the fit holds out, none of them labelled an anomaly, or those given to `fit`.
    preset : "default", or "paper" for the published method.
    members, prototypes, ... : the keys of [fit] in docs/training.md (`transform` there is `input_transform`
        here, as scikit-learn takes what has a `transform` for a transformer); "preset": as the preset has it.
    schema : what is known of columns, as the tables [schema.COLUMN]: {"mcc": {"kind": "categorical"}}.
    time_column : hold out the last rows by this column instead of random ones.
    label_column : what the bundle calls y, where later retrainings read it from a file.
    random_state : the same rows, parameters and seed give the same model.

    Attributes
    ----------
    threshold_ : a score above it is an anomaly.
    decision_scores_, labels_ : [n] scores and verdicts of the rows of `fit`; a loaded model has none.
    n_features_in_, feature_names_in_ : the columns of `fit`; names only where X had them.
    classes_ : [0, 1]. version_ : the bundle's, as `nearnorm models list` shows it.
    """

    _scored: OfFit | None

    def __init__(
        self,
        contamination: float = 0.01,
        *,
        preset: Preset = "default",
        input_transform: Literal["quantile", "minmax"] | AsPreset = PRESET,
        members: int | AsPreset = PRESET,
        prototypes: int | AsPreset | None = PRESET,
        embedding: int | AsPreset = PRESET,
        unit_sphere: bool | AsPreset = PRESET,
        trees: int | AsPreset = PRESET,
        forests: int | AsPreset = PRESET,
        mixing: bool | AsPreset = PRESET,
        layerwise: bool | AsPreset = PRESET,
        representation_epochs: int | AsPreset = PRESET,
        joint_epochs: int | AsPreset = PRESET,
        patience: int | AsPreset | None = PRESET,
        fixed_target: bool | AsPreset = PRESET,
        dynamic_weights: bool | AsPreset = PRESET,
        learning_rate: float | AsPreset = PRESET,
        schema: Schema | None = None,
        time_column: str | None = None,
        label_column: str = "label",
        random_state: Any = 0,  # noqa: ANN401 - what scikit-learn takes
    ) -> None:
        self.contamination = contamination
        self.preset = preset
        self.input_transform = input_transform
        self.members = members
        self.prototypes = prototypes
        self.embedding = embedding
        self.unit_sphere = unit_sphere
        self.trees = trees
        self.forests = forests
        self.mixing = mixing
        self.layerwise = layerwise
        self.representation_epochs = representation_epochs
        self.joint_epochs = joint_epochs
        self.patience = patience
        self.fixed_target = fixed_target
        self.dynamic_weights = dynamic_weights
        self.learning_rate = learning_rate
        self.schema = schema
        self.time_column = time_column
        self.label_column = label_column
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, reference: Any = None) -> Self:  # noqa: ANN401
        """Learn from rows and from what is known of them; rows of `reference` are known to be normal.

        Without y training is unsupervised. Where every row has a label, 0 counts as unlabelled: normal is
        learnt from rows that nobody has looked at. Raises ValueError naming column and row."""
        with as_value_errors():
            frame = read_frame(X)
            columns = frame.table.column_names
            labels = read_labels(y, frame.table.num_rows)
            recipe = recipe_of(self.preset, {name: getattr(self, name) for name in KNOBS}, self.schema)
            known = None
            if reference is not None:
                known = by_names(read_frame(reference, "reference"), columns, frame.names is not None, ())
            rows = TrainingRows(frame.table, labels, self.label_column, self.time_column, known)
            share = self._share()
            trained = train(rows, recipe, self._seed())
            self._hold(Bundled.of(trained, share), columns, frame.names is not None)
            scored = self._sound(frame.table)
        self._scored = scored.outputs.score.astype(np.float64), scored.anomaly.astype(np.int64)
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:  # noqa: ANN401
        """[n] scores in 0..1, as /score gives them. Raises ValueError for rows that it would refuse."""
        return self._score(X).outputs.score.astype(np.float64)

    def predict(self, X: Any) -> NDArray[np.int64]:  # noqa: ANN401
        """[n] 1 where a score is above `threshold_`, or a value is one that training never saw the like of;
        else 0."""
        return self._score(X).anomaly.astype(np.int64)

    def predict_proba(self, X: Any, method: str = "linear") -> NDArray[np.float64]:  # noqa: ANN401
        """[n, 2] of normal and of anomaly; they rank, and are no calibrated probabilities.

        "linear" is the score itself, which is in 0..1 already; "unify" the scores' normal distribution
        function above the reference's mean."""
        scores = self.decision_function(X)
        if method == "unify":
            usual = np.asarray(self._fitted().manifest.core.reference.scores)
            places = (scores - usual.mean()) / (max(float(usual.std()), 1e-12) * math.sqrt(2.0))
            scores = np.array([max(math.erf(place), 0.0) for place in places.tolist()])
        elif method != "linear":
            raise InvalidInput(f'method={method!r}: give "linear" or "unify"')
        return np.column_stack([1.0 - scores, scores])

    def fit_predict(self, X: Any, y: Any = None) -> NDArray[np.int64]:  # noqa: ANN401
        """Fit, and the verdicts on the rows of the fit: `labels_`."""
        return self.fit(X, y).labels_

    def score(self, X: Any, y: Any) -> float:  # noqa: ANN401
        """Average precision: how far in front the anomalies (y is 1) are among all rows."""
        scores = self.decision_function(X)
        anomalies = read_labels(y, len(scores)) == ANOMALY
        if not anomalies.any():
            raise InvalidInput("y has no 1: average precision is that of anomalies, so give rows with some")
        return float(average_precision_score(anomalies, scores))

    def explain(self, X: Any) -> list[list[dict[str, Any]]]:  # noqa: ANN401
        """Of every row the reasons that /score gives: features whose value raises the score, beside what the
        nearest normal group has. A row costs what scoring a hundred does: give the few that matter."""
        table = self._table(X)
        self._sound(table)
        reasons = self._fitted().scorer.explain(table)
        return [msgspec.to_builtins(of_row) for of_row in reasons]

    def save(self, folder: str | Path) -> None:
        """Write the bundle: what `nearnorm models import` takes and `nearnorm score` reads.

        Raises BundleError where the folder holds something else."""
        self._fitted().save(Path(folder))

    @classmethod
    def load(cls, folder: str | Path, contamination: float = 0.01) -> Self:
        """A fitted detector of a bundle, whoever trained it. Raises BundleError for what is none."""
        found = cls(contamination)
        bundled = Bundled(read_files(Path(folder)), found._share())
        core = bundled.manifest.core
        found.set_params(
            **parameters_of(core.config),
            label_column=core.data.label_column,
            time_column=core.data.time_column,
            random_state=core.seed,
        )
        columns = [feature.name for feature in core.features.features]
        found._hold(bundled, columns, columns != [f"x{i}" for i in range(len(columns))])
        return found

    def as_sklearn_outlier(self) -> "SklearnOutlier":
        """With scikit-learn's meaning: -1 is an outlier, and lower is more anomalous."""
        from nearnorm.detector.outlier import SklearnOutlier

        return SklearnOutlier(self)

    @property
    def decision_scores_(self) -> NDArray[np.float64]:
        """[n] of the rows of the fit."""
        return self._of_fit()[0]

    @property
    def labels_(self) -> NDArray[np.int64]:
        """[n] verdicts on the rows of the fit: 1 an anomaly, 0 none."""
        return self._of_fit()[1]

    def _hold(self, bundled: Bundled, columns: list[str], named: bool) -> None:
        """Be the bundle's from now on."""
        if bundled.share > self.contamination:
            warnings.warn(
                f"contamination={self.contamination} is finer than {bundled.manifest.core.reference.rows} "
                f"reference rows can tell, and counts as {bundled.share:.2g}: give more rows, or a reference",
                NearnormWarning,
                stacklevel=3,
            )
        self._bundled, self._columns, self._scored = bundled, columns, None
        self.version_ = bundled.manifest.version
        self.threshold_ = threshold(bundled.scorer.verdict.reference, bundled.share)
        self.classes_ = np.array([0, 1])
        self.n_features_in_ = len(columns)
        if named:
            self.feature_names_in_ = np.array(columns, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _share(self) -> float:
        if not isinstance(self.contamination, Real) or not 0.0 < self.contamination < 1.0:
            raise InvalidInput(f"contamination={self.contamination!r} is no share: give a number in (0, 1)")
        return float(self.contamination)

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            if not 0 <= self.random_state < 2**63:
                raise InvalidInput(f"random_state={self.random_state}: give a number from 0 to 2**63 - 1")
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _table(self, X: Any) -> pa.Table:  # noqa: ANN401
        scored = [feature.name for feature in self._fitted().scorer.schema.scored]
        with as_value_errors():
            return by_names(read_frame(X), self._columns, hasattr(self, "feature_names_in_"), scored)

    def _score(self, X: Any) -> ScoredTable:  # noqa: ANN401
        return self._sound(self._table(X))

    def _sound(self, table: pa.Table) -> ScoredTable:
        """Rows without an error, scored."""
        if not table.num_rows:
            raise InvalidInput("Found array with 0 sample(s) while a minimum of 1 is required.")
        scored = self._fitted().scorer.score(table)
        if scored.errors:
            row = min(scored.errors)
            error = scored.errors[row]
            raise InvalidInput(f"X: column {error.field!r}, row {row + 1}: {error.detail}")
        return scored

    def _fitted(self) -> Bundled:
        if not hasattr(self, "_bundled"):
            raise NotFittedError("This NearnormDetector is not fitted yet: call fit, or load a bundle")
        return self._bundled

    def _of_fit(self) -> OfFit:
        self._fitted()
        if self._scored is None:
            raise AttributeError(
                "a loaded model has no rows of its fit: use decision_function and predict on yours"
            )
        return self._scored

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_bundled")

    def __sklearn_tags__(self) -> Tags:
        """Missing values and text are read, and y is 1 or 0; yet no classifier is checked for."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.classifier_tags = ClassifierTags(multi_class=False)
        return tags
