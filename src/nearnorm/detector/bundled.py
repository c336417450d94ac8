"""A bundle in memory: what a fitted estimator holds, so that it can be copied, pickled and saved."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, MOST_FILE_BYTES, Bundle, read_bundle, write_bundle
from nearnorm.models.bundle.manifest import Manifest
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.bundle.review import REVIEW
from nearnorm.models.conformal import usable_budget
from nearnorm.models.store.folder import plain_files
from nearnorm.service.batch.scorer import Scorer
from nearnorm.service.verdict.offline import by_share

if TYPE_CHECKING:
    from nearnorm.training.pipeline import Trained


class Bundled:
    """A bundle's files, and a scorer of it. `share` of rows such as its reference's are anomalies."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        contamination: float,
        report: Callable[[], Mapping[str, bytes]] | None = None,
    ) -> None:
        """`contamination`: the share, or as little as the reference can tell where it is finer than that.
        `report` makes the files of one, seconds of work, where what they tell of is still known.

        Raises BundleError for a model that does not answer here as it did when it was made."""
        self.files, self.contamination, self._report = dict(files), contamination, report
        self.manifest = Manifest.model_validate_json(self.files[MANIFEST])
        self.share = usable_budget(contamination, self.manifest.core.reference.rows)
        bundle = Bundle(Path(), self.manifest, self.files[MODEL])
        self.scorer = Scorer(bundle, by_share(self.manifest, self.share, f"contamination={contamination}"))

    @classmethod
    def of(cls, trained: "Trained", contamination: float) -> Self:
        manifest = trained.manifest.model_dump_json(indent=1).encode()
        files = {MODEL: trained.model, MANIFEST: manifest, **trained.files}
        return cls(files, contamination, trained.with_report)

    def __reduce__(self) -> tuple[type["Bundled"], tuple[dict[str, bytes], float]]:
        """By its files: a session cannot be pickled, and is made anew where they are read. A copy has no
        report to make."""
        return Bundled, (self.files, self.contamination)

    def save(self, folder: Path) -> None:
        """Whole or not at all. Raises BundleError where there is something else."""
        if self._report is not None:
            self.files |= self._report()
            self._report = None
        beside = {name: content for name, content in self.files.items() if name not in (MANIFEST, MODEL)}
        write_bundle(folder, self.manifest, self.files[MODEL], beside)


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of a bundle, its digests checked. Raises BundleError."""
    bundle = read_bundle(folder)
    paths = [*plain_files(folder), *(path for path in [folder / REVIEW] if path.is_file())]
    beside = {path.name: read_plain_file(path, MOST_FILE_BYTES) for path in paths}
    return {**beside, MODEL: bundle.model}
