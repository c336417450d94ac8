"""Loading a model leaves nothing for the garbage collector to walk; garbage in circles goes all the same."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.models.store.folder import ModelStore
from nearnorm.service.metrics.counters import Metrics
from nearnorm.service.serving.lanes import Lanes
from nearnorm.service.serving.memory import settled
from nearnorm.service.serving.memory.loader import Loader
from nearnorm.service.serving.memory.settled import Settled
from nearnorm.service.settings import Settings


class Circle:
    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def loads() -> Iterator[Settled]:
    """As in a served process once it has started."""
    found, before = Settled(), gc.get_threshold()
    found.begin()
    yield found
    gc.unfreeze()
    gc.set_threshold(*before)
    gc.enable()


@contextmanager
def loading(home: Path, settled: Settled) -> Iterator[Loader]:
    store = ModelStore(home / "models")
    given = Settings(home=home), Metrics(), Lanes()
    with closing(Loader(store, *given, settled, lambda model: None)) as loader:
        yield loader


@pytest.fixture
def version(tmp_path: Path, bundle: Bundle) -> str:
    return ModelStore(tmp_path / "models").publish(bundle.path)


def test_a_loaded_model_is_not_among_what_is_walked_and_is_gone_with_its_last_reference(
    tmp_path: Path, version: str, loads: Settled
) -> None:
    with loading(tmp_path, loads) as loader:
        model = loader.prepare("default", version)
    walked = set(map(id, gc.get_objects()))
    assert walked.isdisjoint(map(id, (model, model.manifest, *model.manifest.core.reference.review)))
    gone = weakref.ref(model.engine)
    del model
    assert gone() is None


def test_a_process_that_does_not_ask_for_it_is_left_alone(tmp_path: Path, version: str) -> None:
    with loading(tmp_path, Settled()) as loader:
        assert loader.prepare("default", version).ref.version == version
    assert not gc.get_freeze_count()


def test_garbage_in_a_circle_goes_before_the_next_load_or_with_a_full_collection(
    loads: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.disable()
    monkeypatch.setattr(settled, "FULL_EVERY", 3)
    before, during = Circle(), Circle()
    told = weakref.ref(before), weakref.ref(during)
    del before
    loads.sweep()
    assert told[0]() is None
    loads.settle()
    del during
    loads.sweep()
    loads.settle()
    assert told[1]() is not None
    loads.sweep()
    loads.settle()
    assert told[1]() is None
