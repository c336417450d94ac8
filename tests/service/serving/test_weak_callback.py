"""What was replaced goes at once: a service may run for hours without a full garbage collection."""

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import Bundle
from nearnorm.service.app import create_app
from nearnorm.service.ledger.seen_lines import EVERY_LINE
from nearnorm.service.serving.weak_callback import weakly
from nearnorm.service.settings import Settings
from tests.service.running import home_with


class Bell:
    def ring(self, times: int) -> str:
        return "ding" * times


def test_a_callback_works_as_long_as_its_object_is_there() -> None:
    bell = Bell()
    ring = weakly(bell.ring)
    assert ring(2) == "dingding"
    del bell
    with pytest.raises(ReferenceError, match="gone"):
        ring(1)


async def replaced(home: Path, version: str) -> "weakref.ref[object]":
    """The model that served before a swap, by a reference that does not hold it."""
    app = create_app(Settings(home=home))
    async with app.router.lifespan_context(app):
        before = weakref.ref(app.state.registry.first(EVERY_LINE))
        await app.state.registry.swaps.activate(version, "test")
        assert before() is not app.state.registry.first(EVERY_LINE)
        return before


def test_a_model_that_was_replaced_is_gone_without_a_garbage_collection(
    tmp_path: Path, bundle: Bundle
) -> None:
    home = home_with(tmp_path / "home", bundle)
    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(replaced(home, bundle.version))() is None
    finally:
        gc.enable()
