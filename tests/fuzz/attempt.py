"""One boundary against many inputs, with what an input may cost."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck

from stylecrafter.errors import StyleCrafterError
from tests.fuzz.boundaries import Boundary

#: Of one input: far above what any takes, far below what a loop without end does.
MOST_SECONDS = 30.0
MOST_BYTES = 1.5 * 2**30


@dataclass
class Tried:
    """How many inputs were tried, and how many of them were refused."""

    inputs: int = 0
    refused: int = 0


def try_boundary(boundary: Boundary, examples: int, seed: int | None) -> Tried:
    """Try so many inputs, the same every time without a `seed`.

    Raises:
        Exception: Whatever a boundary let through that is no error of ours.
        AssertionError: An error without words, too much time or memory, or a result that is none.
    """
    tried = Tried()

    def attempt(value: Any) -> None:
        tried.inputs += 1
        before, started = _peak(), time.process_time()
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try:
            boundary.read(value, folder)
        except StyleCrafterError as error:
            tried.refused += 1
            assert str(error).strip(), "an error without words"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        assert time.process_time() - started < MOST_SECONDS
        assert _peak() - before < MOST_BYTES

    test = hypothesis.settings(
        max_examples=examples,
        derandomize=seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )(hypothesis.given(boundary.inputs())(attempt))
    (test if seed is None else hypothesis.seed(seed)(test))()
    return tried


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
