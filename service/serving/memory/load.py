"""From a stored version to a model that may serve here: everything that can fail or take time."""

from collections.abc import Callable

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.bundle.signature import TrustedKeys
from nearnorm.models.errors import BundleError, NearnormError
from nearnorm.service.inference.engine import Engine, golden_rows
from nearnorm.service.serving.memory.footprint import bytes_of
from nearnorm.service.serving.model import LoadedModel
from nearnorm.service.settings import Settings


def load_model(
    opened: Callable[[str], Bundle],
    name: str,
    version: str,
    settings: Settings,
    trusted: TrustedKeys | None,
    finish: Callable[[LoadedModel], None] | None = None,
) -> LoadedModel:
    """Read, verify, build, check and warm up; then `finish` what the caller adds. `opened`: a store's `open`.

    Raises NearnormError, whatever it was that went wrong: it is this version's failure and nobody else's.
    """
    try:
        bundle = opened(version)
        if trusted is not None:
            trusted.check(bundle)
        engine = Engine(bundle, settings.device, settings.threads)
        engine.run(golden_rows(bundle.manifest.core.golden).part(0, 1))
        model = LoadedModel(name, bundle.manifest, engine, settings.max_rows, bytes_of(bundle))
        if finish is not None:
            finish(model)
    except NearnormError:
        raise
    except Exception as error:  # what nobody foresaw must not end following the store
        raise BundleError(f"version {version} cannot serve here: {type(error).__name__}: {error}") from error
    return model
