"""Recipes as files: found, read, changed from the command line, written down with a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.training.recipe_files import (
    find_recipe,
    load_recipe,
    recipe_names,
    recorded_recipe,
    refuse_unnamed_files,
)


def test_paths_that_are_typed_start_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("finetune", ["data.mine.path=mine", "samples.styles=[a.png]"])
    assert recipe.data["mine"].path == str(tmp_path / "mine")
    assert recipe.samples.styles == [str(tmp_path / "a.png")]


def test_files_that_are_no_recipes_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"name: [\xff")
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        load_recipe(broken)
    broken.write_text("- 1\n")
    with pytest.raises(InvalidInputError, match="mapping"):
        load_recipe(broken)
    with pytest.raises(InvalidInputError, match="no recipe at"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UnknownNameError, match="'mini'"):
        load_recipe("mimi")


def test_what_is_written_down_with_a_run_means_the_same_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "recipes"
    (place / "model").mkdir(parents=True)
    (place / "mine.yaml").write_text(
        "name: mine\nmodel: {pretrained: model}\n"
        "data: {mine: {kind: files, path: pictures, batch_size: 2, references: crop}}\n"
        "stages: [{stage: adapter, pictures: mine, train: {steps: 3, learning_rate: 1e-4}}]\n"
        "samples: {prompts: [a dog], styles: [a.png]}\n"
    )
    monkeypatch.chdir(place)
    recipe = load_recipe("mine.yaml", ["stages.adapter.train.steps=7"])
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(InvalidInputError, match="no run was begun"):
        recorded_recipe(run)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.standalone().model_dump(mode="json")))
    monkeypatch.chdir(tmp_path)
    again = load_recipe(recorded_recipe(run))
    assert again.stages[0].train.steps == 7
    assert again.data["mine"].path == str(place / "pictures")
    assert again.samples is not None and again.samples.styles == [str(place / "a.png")]
    assert again.model.pretrained == str(place / "model")
    assert again.standalone() == again


def test_mixed_precision_no_needs_no_quotes() -> None:
    """YAML reads the bare word as false."""
    assert (
        load_recipe("smoke", ["stages.base.train.mixed_precision=no"]).stages[2].train.mixed_precision == "no"
    )
    with pytest.raises(InvalidInputError, match="mixed_precision"):
        load_recipe("smoke", ["stages.base.train.mixed_precision=true"])


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
    assert unnamed == {"finetune", "paper", "sdxl", "animatediff", "wan"}


def test_named_files_and_recipes_of_ones_own(tmp_path: Path) -> None:
    refuse_unnamed_files(load_recipe("finetune", [f"data.mine.path={tmp_path / 'not there'}"]))
    refuse_unnamed_files(load_recipe("finetune"), "no such stage")
    own = tmp_path / "own.yaml"
    shutil.copy(find_recipe("finetune"), own)
    refuse_unnamed_files(load_recipe(own))
