from __future__ import annotations

import tomllib
from importlib import resources

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import check_pictures, metric_info

TABLE = tomllib.loads((resources.files("stylecrafter.evaluation.metrics") / "infos.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", list(TABLE))
def test_every_metric_says_where_it_comes_from_and_which_way_is_better(name: str) -> None:
    info = metric_info(name, "an encoder")
    assert info.name == name and info.better in ("higher", "lower", "neither")
    assert info.lowest is None or info.highest is None or info.lowest < info.highest
    assert "{" not in info.source and ("an encoder" in info.source) == ("{by}" in TABLE[name]["source"])
    assert set(TABLE[name]) <= {"title", "better", "lowest", "highest", "source", "note"}


def test_titles_are_told_apart() -> None:
    assert len({entry["title"] for entry in TABLE.values()}) == len(TABLE)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (1, 3, 7, 8)])
def test_what_are_no_pictures_is_refused(shape: tuple[int, ...]) -> None:
    check_pictures(torch.zeros(2, 3, 8, 8), 8)
    with pytest.raises(InvalidInputError, match="sides of at least 8"):
        check_pictures(torch.zeros(shape), 8)
