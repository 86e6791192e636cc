"""From recipes to sources: read ahead or not, the batches are the same; mixes and words come out as said."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from stylecrafter.data.loaders import FileSource
from stylecrafter.data.reporting import Described, Reporting
from stylecrafter.data.world_source import WorldSource
from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.styleworld import splits
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.wording import vocabulary_words
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.source_specs import FilesSpec, MixSpec, WorldSpec
from stylecrafter.training.sources import (
    DrawAhead,
    ReadAhead,
    make_source,
    vocabulary_of,
    words_for,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(5):
        Image.new("RGB", (40, 30), (50 * i, 90, 250 - 50 * i)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text(f"a watercolor painting of thing {i}")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    (tmp_path / "broken.txt").write_text("a cat")
    return tmp_path


def make(spec, folder: Path = Path("."), others=None, size=(32, 32)):
    return make_source(spec, folder, size=size, seed=0, device="cpu", others=others)


def test_reading_ahead_changes_no_batch_and_keeps_the_report(folder: Path) -> None:
    given = {"kind": "files", "path": ".", "batch_size": 4, "references": "crop"}
    plain = make(FilesSpec(**given), folder)
    ahead = make(FilesSpec(**given, workers=2), folder)
    assert isinstance(plain, FileSource) and isinstance(ahead, ReadAhead)
    halves = (slice(0, 2), slice(2, 4))
    # In order, back to an earlier step, and by two shares at once.
    for step in (0, 1, 2, 1, 2, 7):
        for rows in halves:
            one, two = plain.batch(step, rows), ahead.batch(step, rows)
            assert torch.equal(one.frames, two.frames) and one.captions == two.captions
            assert torch.equal(one.references, two.references)
    assert isinstance(ahead, Reporting) and isinstance(ahead, Described)
    assert ahead.fingerprint() == plain.fingerprint()
    assert any("broken.png" in line for line in ahead.report())


def test_captions_are_decoupled_or_as_they_are(folder: Path) -> None:
    wanted = {"decouple": "thing", "published": "thing", "keep": "a watercolor painting of thing"}
    for captions, expected in wanted.items():
        source = make(FilesSpec(kind="files", path=".", batch_size=2, captions=captions), folder)
        assert all(text.startswith(expected) for text in source.batch(0, slice(0, 2)).captions)


@pytest.mark.parametrize(("before", "now"), [("content", "decouple"), ("full", "keep")])
def test_captions_by_their_names_before_are_the_same_data(folder: Path, before: str, now: str) -> None:
    """A run that was begun with a recipe of then is resumed: the names, and what its checkpoints record."""
    for kind in (
        {"kind": "files", "path": ".", "batch_size": 2},
        {"kind": "styleworld", "vocabulary": "small", "batch_size": 2, "size": 16},
    ):
        spec = (FilesSpec if kind["kind"] == "files" else WorldSpec)(**kind, captions=before)
        assert spec.captions == now
        recorded = make(spec, folder).fingerprint()
        assert recorded == make(spec.model_copy(update={"captions": now}), folder).fingerprint()
        in_files = {"content": "full", "full": "none"}[before]
        assert (recorded["cleaning"] if "cleaning" in recorded else recorded["captions"]) in (
            in_files,
            before,
        )


def test_captions_by_no_name_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="captions: 'all' is not known.*decouple, published, keep"):
        FilesSpec(kind="files", path=".", batch_size=2, captions="all")
    with pytest.raises(UnknownNameError, match="decouple"):
        WorldSource(vocabulary=splits.SMALL, size=16, batch_size=2, captions="decoupled")


def test_sizes_come_from_the_model_or_the_recipe(folder: Path) -> None:
    files = {"kind": "files", "path": ".", "batch_size": 1}
    shapes = [
        make(FilesSpec(**files, **sides), folder, size=(24, 40)).batch(0, slice(0, 1)).frames.shape[-2:]
        for sides in ({}, {"size": 16}, {"height": 16}, {"height": 16, "width": 48})
    ]
    assert shapes == [(24, 40), (16, 16), (16, 40), (16, 48)]
    with pytest.raises(InvalidInputError, match="square"):
        make(WorldSpec(kind="styleworld", batch_size=1), size=(24, 40))


def test_a_mix_takes_from_all_its_sources(folder: Path) -> None:
    sources = {
        "mine": make(FilesSpec(kind="files", path=".", batch_size=4, references="crop"), folder),
        "world": make(WorldSpec(kind="styleworld", batch_size=4, references="crop")),
    }
    mixed = make(MixSpec(kind="mix", of={"mine": 1, "world": 3}, batch_size=4), others=sources.__getitem__)
    captions = [text for step in range(5) for text in mixed.batch(step, slice(0, 4)).captions]
    assert sum(text.startswith("thing") for text in captions) == 5
    by_steps = MixSpec(kind="mix", of={"mine": 1, "world": 3}, batch_size=4, unit="steps")
    steps = [
        make(by_steps, others=sources.__getitem__).batch(step, slice(0, 4)).captions for step in range(4)
    ]
    mine = [sum(text.startswith("thing") for text in captions) for captions in steps]
    assert sorted(mine) == [0, 0, 0, 4]


def test_a_mix_of_files_that_workers_read_is_the_same_and_starts_them_once(folder: Path) -> None:
    def mixed(workers: int):
        given = {"kind": "files", "path": ".", "batch_size": 4, "references": "crop", "workers": workers}
        sources = {
            "mine": make(FilesSpec(**given), folder),
            "yours": make(FilesSpec(**given | {"captions": "keep"}), folder),
            "world": make(WorldSpec(kind="styleworld", batch_size=4, references="crop")),
        }
        spec = MixSpec(kind="mix", of={"mine": 1, "yours": 2, "world": 2}, batch_size=4)
        return make(spec, others=sources.__getitem__)

    plain, ahead = mixed(0), mixed(1)
    assert isinstance(ahead, ReadAhead) and ahead.fingerprint() == plain.fingerprint()
    started: set[int] = set()
    for step in range(6):
        one, two = (source.batch(step, slice(0, 4)) for source in (plain, ahead))
        assert torch.equal(one.frames, two.frames) and one.captions == two.captions
        started |= {child.pid for child in multiprocessing.active_children()}
    assert len(started) == 1
    assert any("broken.png" in line for line in ahead.report())


def test_a_world_source_is_what_the_recipe_says() -> None:
    source = make(WorldSpec(kind="styleworld", vocabulary="medium", batch_size=3, styled_ratio=0.5))
    assert isinstance(source, WorldSource)
    assert (source.vocabulary, source.size, source.batch_size) == (splits.MEDIUM, 32, 3)


def test_a_model_knows_its_words() -> None:
    medium, full = load_recipe("mini"), load_recipe("mini_128")
    assert set(vocabulary_words()) < set(words_for(medium)) < set(words_for(full))
    known = vocabulary_of(full)
    assert known is not None and set(known["objects"]) == set(splits.FULL.objects)
    assert vocabulary_of(load_recipe("finetune")) is None
    mix = {"pictures": MixSpec(kind="mix", of={"styled": 1.0}, batch_size=4)}
    assert vocabulary_of(full.model_copy(update={"data": full.data | mix})) == known
    with pytest.raises(UnknownNameError):
        splits.find_vocabulary("huge")


def test_motions_of_a_source_are_those_that_are_named() -> None:
    source = make(WorldSpec(kind="styleworld", batch_size=90, motions=("left", "left", "grow"), span=(1, 1)))
    assert isinstance(source, WorldSource)
    things, _, _ = source.things(0)
    counts = Counter(MOTION_NAMES[i] for i in things.motion.tolist())
    assert set(counts) <= {"left", "grow", "still"}  # held-out pairs stand still
    assert counts["left"] > 1.3 * counts["grow"] > 0
    with pytest.raises(InvalidInputError, match="leff"):
        WorldSpec(kind="styleworld", batch_size=2, motions=("leff",))
    with pytest.raises(InvalidInputError, match="sway"):
        WorldSpec(kind="styleworld", batch_size=2, motions=("sway",))


WORLD = {
    "kind": "styleworld", "vocabulary": "small", "batch_size": 6, "styled_ratio": 0.5, "references": "crop",
    "cross_reference_ratio": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("num_frames", [1, 2])
def test_drawing_several_batches_at_once_changes_none(num_frames: int) -> None:
    plain = make(WorldSpec(**WORLD, num_frames=num_frames))
    ahead = DrawAhead(plain, 3)
    assert ahead.batch_size == 6 and ahead.fingerprint() == plain.fingerprint()
    # In order, back, beyond the next block; whole, a share within the cross references, across their end, behind.
    for rows in (slice(0, 6), slice(0, 2), slice(2, 4), slice(4, 6)):
        for step in (0, 1, 2, 3, 1, 7):
            one, two = plain.batch(step, rows), ahead.batch(step, rows)
            torch.testing.assert_close(one.frames, two.frames, atol=1e-6, rtol=0)
            torch.testing.assert_close(one.references, two.references, atol=1e-6, rtol=0)
            assert one.captions == two.captions == ahead.captions_of(step, rows)


def test_an_accelerator_draws_a_block_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecrafter.training.sources.pixels_at_once", lambda device: 2**20)
    ahead = make_source(WorldSpec(**WORLD), Path("."), size=(32, 32), seed=0, device="cuda", others=None)
    assert isinstance(ahead, DrawAhead) and ahead.source.device == "cuda"
    assert ahead.steps == 2**20 // (6 * 32 * 32)
    large = make_source(
        WorldSpec(**WORLD, size=2048), Path("."), size=(32, 32), seed=0, device="cuda", others=None
    )
    assert isinstance(large, WorldSource)
    assert isinstance(make(WorldSpec(**WORLD)), WorldSource)
    asked: list[list[int]] = []
    block = DrawAhead(make(WorldSpec(**WORLD)), 3)
    monkeypatch.setattr(
        WorldSource, "batches", lambda self, steps, rows: asked.append(list(steps)) or [None] * len(steps)
    )
    for step in (3, 4, 5, 6):
        block.batch(step, slice(0, 6))
    assert asked == [[3, 4, 5], [6, 7, 8]]
