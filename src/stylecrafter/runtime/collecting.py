"""No garbage collection while libraries and models are loaded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Nothing is looked through for garbage inside; what is there at the end is never looked through again.

    Modules and weights stay as long as the process. Their many small objects have the collector look through all of
    them again and again, which took a sixth of the time of loading. For commands, not for the library: a program may
    have garbage of its own, and who has switched the collector off keeps it off.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
