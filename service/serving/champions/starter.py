"""An empty store gets the model that the package brings along."""

from importlib import resources
from pathlib import Path

from nearnorm.models.bundle.bundle import MANIFEST
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.logs import log

NONE_ACTIVE = "no model is active: run `nearnorm models import` and `nearnorm models activate`"


def put_starter(store: ModelStore) -> str:
    """What to tell of a store that has no champion all the same."""
    try:
        if store.activations() or store.versions():
            return NONE_ACTIVE
        starter = resources.files("nearnorm.models") / "starter"
        if not (starter / MANIFEST).is_file():
            return NONE_ACTIVE
        with resources.as_file(starter) as folder:
            version = store.publish(Path(folder))
        store.activate(version, by="starter")
    except Exception as error:  # the service starts without it, and says why there is no model
        log.error("the starter model was not stored", exc_info=error)
        return str(error)
    return NONE_ACTIVE
