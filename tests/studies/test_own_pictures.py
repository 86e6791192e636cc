from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylecrafter.errors import InvalidInputError, OutputError, UnknownNameError
from stylecrafter.evaluation.truth.world_set import WorldSetSpec
from stylecrafter.studies.own_pictures import (
    ALL_GIVEN,
    BEFORE,
    QUICK,
    RENDERS,
    SCORES,
    WAYS,
    _collection,
    _read_together,
    _rows,
    _set_for,
    run,
)
from stylecrafter.studies.result import StudyResult
from stylecrafter.studies.subject import Subject
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.objects import OBJECT_NAMES
from stylecrafter.styleworld.styles import STYLE_NAMES
from stylecrafter.training.recipe_files import load_recipe, recorded_recipe

#: One collection is enough to tell what is asked, and of which.
ONE = replace(QUICK, kinds=("bricks",))
SPEC = WorldSetSpec(vocabulary="medium", size=64, references=3, prompts=20, unseen_kinds=1, seed=1)


def test_a_collection_is_many_things_in_one_held_out_style() -> None:
    collection = _collection("bricks", SPEC, 12, seed=0)
    assert set(collection.style.tolist()) == {STYLE_NAMES.index("bricks")}
    assert len(collection.palette.flatten(1).unique(dim=0)) == 1
    assert len(collection.style_parameters.unique(dim=0)) == 1
    low, high = splits.HELD_OUT_PARAMETER
    assert low <= float(collection.style_parameters[0, 0]) <= high
    assert len(collection.thing.unique()) > 4
    assert set(collection.thing.tolist()) <= {OBJECT_NAMES.index(name) for name in splits.MEDIUM.objects}
    other = _collection("bricks", SPEC, 12, seed=1)
    assert not torch.equal(other.palette[0], collection.palette[0])


def test_the_given_picture_s_object_is_not_asked_for() -> None:
    held_out = SPEC.draw()
    collection = _collection("bricks", SPEC, 4, seed=0).replace(thing=held_out.prompts.thing[:4])
    asked = _set_for(collection, held_out)
    assert len(asked.references) == 4 and torch.equal(asked.references.palette[0], collection.palette[0])
    assert not (asked.prompts.thing == collection.thing[0]).any()
    assert (
        len(asked.texts) == len(asked.prompts) == int((held_out.prompts.thing != collection.thing[0]).sum())
    )
    assert asked.texts[0] == held_out.texts[1]
    rows = _rows(asked)
    assert asked.reference_of[rows].tolist() == [0] * len(asked.prompts) + [1, 2, 3]
    assert len(set(asked.prompt_of[rows].tolist()[-3:])) == 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def result(folder: Path) -> StudyResult:
    pytest.importorskip("matplotlib")
    return run("mini", folder, ONE, seed=3)


def test_the_study_at_toy_size(result: StudyResult, folder: Path) -> None:
    assert list(result.data) == [BEFORE, ALL_GIVEN, *WAYS, RENDERS]
    assert all(set(result.data[BEFORE][kind]) == set(SCORES) for kind in ONE.kinds)
    for kind in ONE.kinds:
        one, all_given = result.data[BEFORE][kind], result.data[ALL_GIVEN][kind]
        assert one["nearness"] != all_given["nearness"]
        assert all(one[score] == all_given[score] for score in ("others_style", "others_object"))
    assert [row[0] for row in result.tables[1].rows] == [
        "all pictures given over before",
        "recipe over before",
        "not blended over before",
        "whole adapter over before",
        "not blended over recipe",
        "whole adapter over recipe",
    ]
    # The given picture itself is drawn by the world in its own style; other things in it are nearest to it.
    assert all(value == 1 for kind in ONE.kinds for value in result.data[RENDERS][kind]["style"])
    for kind in ONE.kinds:
        pictures = sorted((folder / "collections" / kind).glob("*.png"))
        assert len(pictures) == 3 and all(p.with_suffix(".txt").read_text() for p in pictures)
        assert Image.open(pictures[0]).size == (64, 64)
        assert not [p for p in pictures if kind in p.with_suffix(".txt").read_text()]


def test_ways_differ_in_what_they_say(result: StudyResult, folder: Path) -> None:
    recipe, learned, whole = (
        load_recipe(recorded_recipe(folder / "models" / f"bricks_{way.replace(' ', '_')}")).model_dump()
        for way in WAYS
    )
    assert [stage["stage"] for stage in whole["stages"]] == ["adapter"]
    settings = [way["stages"][0].pop("train") for way in (recipe, learned, whole)]
    assert [of["weight_interpolation"] for of in settings] == [0.5, 1, 0.5]
    assert (
        settings[0] == {**settings[1], "weight_interpolation": 0.5} == {**settings[2], "learning_rate": 3e-4}
    )
    assert recipe == learned and recipe["data"] == whole["data"]


def test_all_pictures_are_read_together() -> None:
    subject = Subject("mini", SPEC)
    collection = _collection("bricks", SPEC, 3, seed=0)
    together = _read_together(subject, collection)
    assert together.shape == subject.style_tokens[:1].shape
    alone = _read_together(subject, collection[:1])
    torch.testing.assert_close(alone, subject.encode(collection[:1]))
    assert not torch.allclose(together, alone, atol=1e-2)


def test_models_are_trained_once(result: StudyResult, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = folder / "models" / "bricks_recipe" / "model" / "model_index.json"
    before = trained.stat().st_mtime_ns
    again = run("mini", folder, ONE, seed=3)
    assert trained.stat().st_mtime_ns == before and again.data == result.data
    with pytest.raises(OutputError, match="other settings"):
        run("mini", folder, replace(ONE, train_steps=2), seed=3)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"kinds": ("brick",)}, UnknownNameError, "bricks"),
        ({"ways": ("whole adaptor",)}, UnknownNameError, "whole adapter"),
        ({"pictures": 1}, InvalidInputError, "of 1 pictures"),
        ({"kinds": ()}, InvalidInputError, "0 collections"),
        ({"ways": ()}, InvalidInputError, "in 0 ways"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    changes: dict[str, object], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        run("mini", tmp_path, replace(QUICK, **changes))  # type: ignore[arg-type]


def test_real_renders_are_in_the_collection_s_style() -> None:
    collection = _collection("mosaic", SPEC, 3, seed=0)
    asked = _set_for(collection, SPEC.draw())
    shown = asked.real_clips(torch.tensor([0]), 64, 1)
    wanted = world.render(asked.prompts[:1].in_style_of(collection[:1]), 64)
    assert torch.equal(shown, wanted)
