from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from stylecrafter.errors import InvalidInputError, StyleCrafterError
from stylecrafter.evaluation.methods import read_style_texts
from stylecrafter.evaluation.testset import read_testset
from stylecrafter.evaluation.truth.world_set import WorldSetSpec, world_set_for, write_world_set
from stylecrafter.media.tensors import to_pictures
from stylecrafter.styleworld import world

SPEC = WorldSetSpec(references=3, prompts=2, unseen_kinds=1, size=32)


def test_a_set_of_styleworld_is_in_the_published_layout_and_knows_its_truth(tmp_path: Path) -> None:
    testset = read_testset(write_world_set(SPEC, tmp_path / "set"))
    drawn = SPEC.draw()
    assert testset.truth == SPEC
    assert len(testset.entries) == len(drawn) == 6
    for i, entry in enumerate(testset.entries):
        assert entry.prompt == drawn.texts[int(drawn.prompt_of[i])]
        assert testset.references_of(entry) == (int(drawn.reference_of[i]),)
    renders = to_pictures(world.render(drawn.references, 32)[:, 0])
    for picture, render in zip(testset.load_pictures(), renders, strict=True):
        assert to_pictures(picture[None])[0].tobytes() == render.tobytes()
    words = read_style_texts(tmp_path / "set" / "style_texts.json")
    assert list(words) == ["00.png", "01.png", "02.png"] and all(words.values())


def test_a_set_that_was_changed_does_not_keep_its_truth(tmp_path: Path) -> None:
    file = write_world_set(SPEC, tmp_path / "set")
    entries = json.loads(file.read_text())
    for changed in (
        entries[::-1],
        [*entries, entries[0]],
        [{**entries[0], "prompt": "another"}, *entries[1:]],
        [{**entries[0], "style_path": entries[-1]["style_path"]}, *entries[1:]],
    ):
        file.write_text(json.dumps(changed))
        with pytest.raises(InvalidInputError, match=r"entry \d of .* knows the truth of"):
            read_testset(file)
    (tmp_path / "set" / "mine.json").write_text(json.dumps(entries[::-1]))
    assert read_testset(tmp_path / "set" / "mine.json").truth is None
    file.write_text(json.dumps(entries[:4]))  # a part from the beginning is what it was
    assert len(read_testset(file).entries) == 4


def test_several_pictures_give_a_style(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"pictures": 3})
    one, several = SPEC.draw(), spec.draw()
    assert several.texts == one.texts and torch.equal(several.references.thing, one.references.thing)
    for batch in several.companions:
        assert torch.equal(batch.palette, one.references.palette)
        assert torch.equal(batch.style_parameters, one.references.style_parameters)
        assert not (batch.thing == one.references.thing).any()
        assert not set(batch.thing.tolist()) & set(one.prompts.thing.tolist())
    testset = read_testset(write_world_set(spec, tmp_path / "set"))
    assert [Path(path).name for path in testset.entries[2].styles] == ["01.png", "01_1.png", "01_2.png"]
    assert len(testset.pictures) == 9
    assert list(read_style_texts(tmp_path / "set" / "style_texts.json")) == ["00.png", "01.png", "02.png"]
    with pytest.raises(InvalidInputError, match=r"0 picture\(s\)"):
        SPEC.model_copy(update={"pictures": 0}).draw()


def test_the_same_set_is_left_as_it_is_and_another_one_refused(tmp_path: Path) -> None:
    file = write_world_set(SPEC, tmp_path)
    before = file.stat().st_mtime_ns
    assert write_world_set(SPEC, tmp_path).stat().st_mtime_ns == before
    with pytest.raises(InvalidInputError, match="another test set"):
        write_world_set(SPEC.model_copy(update={"seed": 1}), tmp_path)


def test_a_damaged_truth_is_refused(tmp_path: Path) -> None:
    file = write_world_set(SPEC, tmp_path)
    (tmp_path / "truth.json").write_text('{"references": "many"}')
    with pytest.raises(InvalidInputError, match=r"truth\.json"):
        read_testset(file)


def test_numbers_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="1 references"):
        write_world_set(WorldSetSpec(references=1, unseen_kinds=0), tmp_path)
    with pytest.raises(StyleCrafterError, match="vocabulary"):
        write_world_set(WorldSetSpec(vocabulary="none"), tmp_path)
    assert not list(tmp_path.iterdir())
    for changes in (
        {"prompts": 0},
        {"references": 10**6},
        {"pictures": -1},
        {"seed": -1},
        {"unseen_kinds": 10**9},
    ):
        name = next(iter(changes))
        with pytest.raises(
            InvalidInputError, match=f"a set of StyleWorld: {name} must .*got {changes[name]}"
        ):
            world_set_for("mini", **changes)
