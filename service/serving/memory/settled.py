"""What stays is put where the garbage collector does not look: what a start left, and every model after it.

A model is a thousand objects that nothing makes garbage of: it leaves by its last reference. Left among the
young ones they are walked by one collection after the other, which no request can interrupt: beside twenty
loads a second that took 20 ms at a time, and 60 now and then. What others had begun in the milliseconds of a
load is put there too, and would stay if it became garbage in a circle: a full collection finds it at last.
"""

import gc

FULL_EVERY = 10_000
"""Loads between two full collections, which walk every model."""


class Settled:
    """Of a process that has called `begin`; elsewhere the collector is left as it is."""

    def __init__(self) -> None:
        self._begun = False
        self._loads = 0

    def begin(self) -> None:
        """Once the process has started. Little of what is there is garbage: a full collection would take 40
        ms to walk it, now of the start, and later of every request."""
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()
        self._begun = True

    def sweep(self) -> None:
        """Before a load: collect what is garbage among the young. They are few, as loaded models are none."""
        if self._begun:
            gc.collect(0)

    def settle(self) -> None:
        """After a load, before another one."""
        if not self._begun:
            return
        self._loads += 1
        if self._loads % FULL_EVERY == 0:
            gc.unfreeze()
            gc.collect()
        gc.freeze()
