"""What runs and recipes of the version before called otherwise is read, and said once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.training import old_names
from stylecrafter.training.checkpoint import checkpoint_path, list_checkpoints, save_checkpoint
from stylecrafter.training.old_names import CHECKPOINT_KEYS, RECIPE_KEYS
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.run_folder import RunFolder
from tests.training.test_trainer import same_state, trainer

#: As the version before wrote one down with a run.
BEFORE = """
name: before
model: {pretrained: null, preset: mini, begin_with: mini, new_adapter: false}
data:
  begin_with: {kind: styleworld, batch_size: 4, references: crop}
  clips: {kind: styleworld, batch_size: 2, num_frames: 4, styled_ratio: 0.0}
stages:
- stage: base
  name: base
  stretch_time: 2.0
  pictures: begin_with
  clips: clips
  train: {steps: 5, learning_rate: 1.0e-3, rounded_weights: true, record_steps: false, blend: 0.5}
  options: {clip_ratio: 0.5, middle_timesteps: 0.6}
"""


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    old_names._say.cache_clear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "before.yaml"
    file.write_text(BEFORE)
    return file


def test_keys_of_recipes_are_read_by_their_old_names(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        recipe = load_recipe(path)
    (base,) = recipe.stages
    assert recipe.model.warm_start == "mini" and set(recipe.data) == {"begin_with", "clips"}
    assert (base.position_interpolation, base.options.logit_normal_ratio) == (2.0, 0.6)
    assert base.train.bf16_compute and not base.train.cuda_graphs and base.train.weight_interpolation == 0.5
    for old, new in RECIPE_KEYS.items():
        assert caplog.text.count(f"{old!r} is called {new!r} today") == 1


def test_changes_know_both_names(path: Path) -> None:
    for key in ("middle_timesteps", "logit_normal_ratio"):
        changed = load_recipe(path, [f"stages.base.options.{key}=0.25"])
        assert changed.stages[0].options.logit_normal_ratio == 0.25
    whole = load_recipe(path, ["stages.base.options={clip_ratio: 0.5, middle_timesteps: 0.25}"])
    assert whole.stages[0].options.logit_normal_ratio == 0.25
    assert load_recipe(path, ["data.begin_with.batch_size=6"]).data["begin_with"].batch_size == 6
    with pytest.raises(InvalidInputError, match="logit_normal_ratio must be at most 1, got 2"):
        load_recipe(path, ["stages.base.options.middle_timesteps=2"])


@pytest.mark.parametrize(
    ("old", "both"),
    [
        ("stretch_time: 2.0", "stretch_time: 2.0\n  position_interpolation: 3.0"),
        ("blend: 0.5", "weight_interpolation: 0.25, blend: 0.5"),
        ("begin_with: mini", "begin_with: mini, warm_start: mini"),
    ],
)
def test_a_key_under_both_names_is_refused(path: Path, old: str, both: str) -> None:
    path.write_text(BEFORE.replace(old, both))
    with pytest.raises(InvalidInputError, match="before.yaml: (.*) and (.*) are the same key of a recipe"):
        load_recipe(path)


def test_a_stage_may_be_called_what_a_key_was(path: Path) -> None:
    path.write_text(BEFORE.replace("name: base", "name: blend"))
    assert load_recipe(path, ["stages.blend.train.steps=6"]).stages[0].train.steps == 6
    assert load_recipe(path, ["stages.blend.train.blend=0.25"]).stages[0].train.weight_interpolation == 0.25


def test_a_run_of_the_version_before_holds_the_same_recipe(path: Path, tmp_path: Path) -> None:
    recipe, folder = load_recipe(path), tmp_path / "run"
    save_checkpoint({}, checkpoint_path(folder / "base", 1))
    (folder / "recipe.yaml").write_text(BEFORE)
    assert not RunFolder(folder, recipe).holds_another()
    assert RunFolder(folder, load_recipe(path, ["stages.base.train.steps=6"])).holds_another()


def test_a_checkpoint_of_the_version_before_is_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path / "whole").run()
    first = trainer(tmp_path / "parts")
    for _ in range(3):
        first.train_step()
    first.save()
    (path,) = list_checkpoints(tmp_path / "parts")
    before = {new: old for old, new in CHECKPOINT_KEYS.items()}
    state = torch.load(path, weights_only=True)
    assert "ema" in state
    save_checkpoint({before.get(key, key): value for key, value in state.items()}, path)
    second = trainer(tmp_path / "parts")
    second.resume()
    assert second.step == 3 and caplog.text.count("'average' is called 'ema' today") == 1
    second.run()
    same_state(tmp_path / "whole", tmp_path / "parts")
