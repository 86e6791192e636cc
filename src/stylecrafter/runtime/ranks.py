"""Which of several processes this one is, as `torchrun` and `accelerate launch` say it; needs no torch."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this is the only process, or the one of them all that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


def local_rank() -> int:
    """The number of this process on its machine; 0 where no launcher started it."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def process_count() -> int:
    """How many processes share the work; 1 where no launcher started them."""
    return int(os.environ.get("WORLD_SIZE", "1"))
