"""A bundle from an MLflow registry: what `models:/payments@champion` stands for now."""

from pathlib import Path

from nearnorm.models.bundle.bundle import MANIFEST
from nearnorm.models.errors import BundleError, StoreError
from nearnorm.service.interfaces.mlflow_model.export import BUNDLE


def download(uri: str, into: Path) -> Path:
    """The bundle's folder within `into`; the registry is the one that MLFLOW_TRACKING_URI names.

    Raises StoreError where there is no such model, BundleError where it is none of `nearnorm export`."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(into)))
    except (MlflowException, OSError) as error:
        raise StoreError(f"{uri} cannot be had from the MLflow registry: {error}") from None
    if not (folder / BUNDLE / MANIFEST).is_file():
        raise BundleError(f"{uri} holds no bundle: register what `nearnorm export BUNDLE --mlflow` wrote")
    return folder / BUNDLE
