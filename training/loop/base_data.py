"""The base data of a retraining: where it lies, and whether it is still what the champion was trained on.

A manifest's `source` stands outside the signed core, so whoever can write to the store can point it
elsewhere; the digest of the rows stands inside.
"""

from dataclasses import dataclass

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.load import Dataset, load
from nearnorm.training.dataset.recipe import Recipe
from nearnorm.training.dataset.source import resolve
from nearnorm.training.loop.snapshot import check_columns


@dataclass(frozen=True)
class BaseData:
    """`changed` is a sentence where these are not the rows that the champion was trained on."""

    source: str
    data: Dataset
    changed: str | None


def read_base(manifest: Manifest, named: str | None, recipe: Recipe, own: Recipe, trusted: bool) -> BaseData:
    """The data at `named`, by the operator, or else at the champion's own source; read by `recipe`, and
    compared as it was read by the champion's `own`.

    Raises DataError for data that cannot be read or lost a column; and, if `trusted`, for a change that no
    operator named.
    """
    facts = manifest.core.data
    source = named or resolve(manifest.source)
    data = load(source, facts.label_column, recipe.columns, facts.time_column)
    then = data
    if own.columns != recipe.columns:
        then = load(source, facts.label_column, own.columns, facts.time_column)
    changed = None
    if then.facts.digest != (facts.base_digest or facts.digest):
        changed = f"the base data {source} has changed since the champion was trained on it"
        if trusted and named is None:
            raise DataError(
                f"{changed}: its digest is not the one in the signed manifest. Bring it back, train anew "
                "with `nearnorm train`, or name the data that you trust by NEARNORM_TRAINING_DATA"
            )
    check_columns(source, data.schema, manifest.core.features)
    return BaseData(source, data, changed)
