"""Memory that goes back to the system as soon as it is free."""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)

#: Of glibc's `mallopt`.
_MMAP_THRESHOLD = -3
#: Blocks from this size on are given back, one by one.
LARGE_BLOCK = 2**20


def give_back_large_blocks() -> None:
    """Have this process give large blocks back when they are freed.

    Left to itself, glibc keeps blocks of up to 32 MB for later: the maps that a UNet computes with leave holes, and the
    process grows to up to twice of what it holds at any moment. Where there is another C library, nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        logger.debug("this C library has no mallopt")
        return
    mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)
