"""What lies outside a recipe is looked at before the first step, for all of its stages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.preflight import check_run
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.strategies import find_strategy
from tests.data_sources.support import picture_folder, write_clip, write_picture

TEXT = """
name: test
model: {preset: mini}
data:
  drawn: {kind: styleworld, batch_size: 4, references: crop}
  mine: {kind: files, path: pictures, batch_size: 4, references: crop}
  films: {kind: files, path: films, batch_size: 2, num_frames: 4}
stages:
  - {stage: autoencoder, pictures: drawn, train: {steps: 5, learning_rate: 1.0e-3}}
  - {stage: adapter, pictures: mine, train: {steps: 5, learning_rate: 1.0e-3}}
  - {stage: temporal, pictures: drawn, clips: films, train: {steps: 5, learning_rate: 1.0e-3}}
samples: {prompts: [a dog]}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    picture_folder(tmp_path / "pictures", 2)
    write_clip(tmp_path / "films" / "a.mp4", 6, caption="a dog")
    (tmp_path / "test.yaml").write_text(TEXT)
    return tmp_path


def recipe(place: Path, *changes: str) -> Recipe:
    return load_recipe(place / "test.yaml", list(changes))


def refusal(recipe: Recipe, **settings: object) -> str:
    with pytest.raises(InvalidInputError) as caught:
        check_run(recipe, recipe.stages, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_right_passes_and_leaves_nothing_behind(place: Path) -> None:
    before = sorted(place.rglob("*"))
    check_run(recipe(place), recipe(place).stages)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.films.num_frames=16", "data.films: .*none of 1 can be used, the first: .*too short: 6 frames"),
        ("data.films.stride=2", "too short: 6 frames, 4 frames at stride 2 need 7"),
        ("data.films.fps=60", "too slow"),
        (
            "data.films.path=nowhere",
            "data.films: .*nowhere: no such folder or file; set it by --set data.films.path",
        ),
        ("data.films.path=pictures", "no usable clip"),
        ("data.mine.path=films", "no usable picture"),
        ("data.mine.cross_reference_ratio=0.5", "needs records that share a style"),
        ("samples.styles=[nowhere.png]", "samples.styles.0: .*nowhere.png"),
        ("samples.styles=[test.yaml]", "samples.styles.0: .*test.yaml"),
        ("model.warm_start=nowhere", "model.warm_start: unknown model 'nowhere'"),
        ("model.warm_start=pictures", "model.warm_start: .*no model folder"),
        (
            "stages.adapter.train.mixed_precision=fp16",
            "stages.1.train.mixed_precision: fp16 needs an accelerator",
        ),
    ],
)
def test_what_a_later_stage_lacks_is_told_before_the_first(
    place: Path, monkeypatch: pytest.MonkeyPatch, change: str, said: str
) -> None:
    monkeypatch.chdir(place)
    assert re.search(said, refusal(recipe(place, change)))


def test_everything_is_told_at_once(place: Path) -> None:
    wrong = recipe(place, "data.films.num_frames=16", "data.mine.path=nowhere", "samples.styles=[no.png]")
    said = refusal(wrong, processes=3)
    for clause in ("data.films", "data.mine", "samples.styles.0", "stages.0.train.accumulation: a batch of 4 rows",
                   "stages.2.train.accumulation: a batch of 2 rows (films)"):  # fmt: skip
        assert clause in said


def test_only_what_is_still_to_be_trained_is_looked_at(place: Path) -> None:
    wrong = recipe(place, "data.films.path=nowhere", "data.mine.path=nowhere")
    check_run(wrong, wrong.stages[:1])
    assert "data.mine" not in refusal(wrong.model_copy(update={"stages": [wrong.stages[0], wrong.stages[2]]}))


def test_one_good_clip_among_bad_ones_is_enough(place: Path) -> None:
    for number in range(5):
        write_clip(place / "films" / f"{number}.mp4", 2, caption="short")
    (place / "films" / "0.mp4").write_bytes(b"no clip")
    check_run(recipe(place), recipe(place).stages)
    (place / "films" / "a.mp4").unlink()
    assert "none of 5 can be used" in refusal(recipe(place))


def test_captions_that_speak_of_style_alone_leave_nothing(place: Path) -> None:
    for file in (place / "pictures").glob("*.txt"):
        file.write_text("a painting")
    assert "the captions of all 2 speak of style alone" in refusal(recipe(place))
    check_run(recipe(place, "data.mine.missing_captions=empty"), recipe(place).stages)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "data.mine.size=70",
            "data.mine: 70 x 70 pixels for stage 'extractor': both sides must be multiples of 16",
        ),
        ("adapter.extractor_heads=7", "model.pretrained: .*7"),
        ("model.attention_levels=[true]", "has attention_levels"),
        ("model.pretrained=nowhere", "unknown model 'nowhere'"),
    ],
)
def test_finished_models_are_asked_what_they_take(place: Path, change: str, said: str) -> None:
    changes = [f"data.mine.path={place / 'pictures'}", change, "stages.0.stage=adapter"]
    loaded = load_recipe("finetune", changes)
    assert re.search(said.replace("'extractor'", "'adapter'"), refusal(loaded))


def test_a_run_that_is_refused_writes_nothing(place: Path) -> None:
    run = RecipeRun(recipe(place, "data.films.num_frames=16"), place / "run")
    with pytest.raises(InvalidInputError, match="data.films"):
        run.run()
    assert not (place / "run").exists()


def test_bundled_recipes_ask_for_the_data_that_they_lack(tmp_path: Path) -> None:
    loaded = load_recipe("finetune")
    assert "set it by --set data.mine.path=" in refusal(loaded)
    write_picture(tmp_path / "a.png", 1, "a boat")
    check_run(load_recipe("finetune", [f"data.mine.path={tmp_path}"]), loaded.stages)


def test_a_recipe_with_a_strategy_is_checked_as_a_whole(place: Path) -> None:
    content = yaml.safe_load(TEXT)
    content["stages"][1]["train"]["accumulation"] = 4
    (place / "test.yaml").write_text(yaml.safe_dump(content))
    changed = recipe(place).with_strategy(find_strategy("cross_references"))
    assert "share a style" in refusal(changed)
