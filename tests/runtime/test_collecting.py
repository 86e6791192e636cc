from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from stylecrafter.runtime.collecting import nothing_collected


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_stands_still_inside_and_runs_again_after() -> None:
    with pytest.raises(KeyError), nothing_collected():
        assert not gc.isenabled()
        kept = [[] for _ in range(100)]
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count() >= len(kept)


def test_one_that_is_off_stays_off() -> None:
    gc.disable()
    before = gc.get_freeze_count()
    with nothing_collected():
        pass
    assert not gc.isenabled() and gc.get_freeze_count() == before
