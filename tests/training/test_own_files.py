from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.own_files import refuse_unnamed_files
from stylecrafter.training.recipe_files import find_recipe, load_recipe, recipe_names


@pytest.mark.parametrize(
    ("name", "until", "wanted"),
    [
        ("finetune", None, ["mine"]),
        ("paper", None, ["art", "art_stage_2", "video"]),
        ("paper", "adapter", ["art"]),
    ],
)
def test_own_files_have_to_be_named(name: str, until: str | None, wanted: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        refuse_unnamed_files(load_recipe(name), until)
    message = str(caught.value)
    assert " ".join(f"--set data.{source}.path=FOLDER" for source in wanted) in message
    assert message.count("--set") == len(wanted) and "recipes/" not in message


def test_every_recipe_can_be_begun_or_says_what_it_needs(tmp_path: Path) -> None:
    unnamed = set()
    for name in recipe_names():
        try:
            refuse_unnamed_files(load_recipe(name))
        except InvalidInputError:
            unnamed.add(name)
    assert unnamed == {"finetune", "paper"}


def test_named_files_and_recipes_of_ones_own(tmp_path: Path) -> None:
    refuse_unnamed_files(load_recipe("finetune", [f"data.mine.path={tmp_path / 'not there'}"]))
    refuse_unnamed_files(load_recipe("finetune"), "no such stage")
    own = tmp_path / "own.yaml"
    shutil.copy(find_recipe("finetune"), own)
    refuse_unnamed_files(load_recipe(own))
