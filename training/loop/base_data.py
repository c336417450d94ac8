"""The base data of a retraining: where it lies, and whether it is still what the champion was trained on.

A manifest's `source` stands outside the signed core, so whoever can write to the store can point it
elsewhere; the digest of the rows stands inside.
"""

from dataclasses import dataclass

from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.data.schema import FeatureSchema
from nearnorm.models.errors import DataError
from nearnorm.training.dataset.known_normal import KnownNormal, load_known_normal
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
    older, reading = manifest.core.features, manifest.reading
    data = load(source, facts.label_column, recipe.columns, facts.time_column, older, reading)
    then = data
    if own.columns != recipe.columns:
        then = load(source, facts.label_column, own.columns, facts.time_column, older, reading)
    changed = None
    if then.facts.digest != (facts.base_digest or facts.digest):
        changed = f"the base data {source} has changed since the champion was trained on it"
        if trusted and named is None:
            raise DataError(
                f"{changed}: its digest is not the one in the signed manifest. Bring it back, train anew "
                "with `nearnorm train`, or name the data that you trust by NEARNORM_TRAINING_DATA"
            )
    check_columns(source, data.schema, older)
    return BaseData(source, data, changed)


def read_reference(
    manifest: Manifest, named: str | None, schema: FeatureSchema, trusted: bool
) -> tuple[KnownNormal | None, str | None]:
    """The rows known to be normal at `named`, by the operator, or else at the champion's own place, read by
    `schema`; and a sentence where they are not those of the champion. None: it has none, and none is named.

    Raises DataError for rows that cannot be read, and, if `trusted`, for a change that no operator named.
    """
    core, recorded = manifest.core, manifest.reference_source
    if named is None and not core.reference.known_normal:
        return None, None
    source = named or (recorded and resolve(recorded))
    if source is None:
        raise DataError(
            "the champion was calibrated by rows known to be normal, and its manifest does not say where "
            "they lie: name them by NEARNORM_REFERENCE_DATA"
        )
    sample = load_known_normal(source, core.data.label_column, schema, manifest.reading)
    if not core.reference.known_normal:
        return sample, None
    then = sample
    if schema != core.features:
        then = load_known_normal(source, core.data.label_column, core.features, manifest.reading)
    if then.digest == core.reference.sample:
        return sample, None
    changed = f"the reference {source} has changed since the champion was calibrated by it"
    if trusted and named is None:
        raise DataError(
            f"{changed}: its digest is not the one in the signed manifest. Bring it back, train anew with "
            "`nearnorm train`, or name the rows that you trust by NEARNORM_REFERENCE_DATA"
        )
    return sample, changed
