"""The text encoder learns to carry words that it hardly told apart, and forgets nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stylecrafter.data.batch import TrainingBatch
from stylecrafter.errors import InvalidInputError
from stylecrafter.styleworld.lexicon import GROUP_MOTIONS, MOTION_PHRASES
from stylecrafter.training.from_scratch.text_separation import (
    TextSeparationConfig,
    TextSeparationStage,
    directions,
    motion_phrases,
)
from stylecrafter.training.parts import Parts
from stylecrafter.training.train_config import TrainConfig
from stylecrafter.training.trainer import Trainer
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_pictures

SIDES = {"left": ("to the left", "left"), "right": ("to the right", "right")}


class Captions:
    """Few short captions: the tiny tokenizer spells most words, and keeps twelve tokens."""

    batch_size = 6

    def batch(self, step: int, rows: slice) -> TrainingBatch:
        captions = ["dog", "dog left", "dog right", "left", "right dog", "a dog"][rows]
        return TrainingBatch(frames=torch.zeros(len(captions), 1, 3, 8, 8), captions=captions)

    def fingerprint(self) -> dict[str, object]:
        return {}


def stage_of(parts: Parts, **config) -> TextSeparationStage:
    return TextSeparationStage(parts, Captions(), TextSeparationConfig(groups=SIDES, **config))


def states(parts: Parts, caption: str) -> torch.Tensor:
    tokens = parts.backbone.component("tokenizer")(
        [caption], padding="max_length", truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return parts.models()["text_encoder"](input_ids=tokens.input_ids).last_hidden_state[0]


def test_the_text_encoder_alone_moves() -> None:
    parts = tiny_parts()
    stage = stage_of(parts)
    stage.loss(0).backward()
    for owner, model in parts.models().items():
        moved = {
            name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()
        }
        assert bool(moved) == (owner == "text_encoder"), owner
    assert set(stage.trainable()) == {
        f"text_encoder.{n}" for n, _ in parts.models()["text_encoder"].named_parameters()
    }


def test_what_the_encoder_was_goes_where_the_encoder_goes() -> None:
    parts = tiny_parts()
    stage = stage_of(parts)
    parts.models()["text_encoder"].to("meta")
    assert stage.inputs(0).wanted.device == torch.device("meta")


def test_before_the_first_step_exactly_the_directions_are_missing() -> None:
    """With no group's words in a caption nothing is asked; with them, the strength from the words on."""
    parts = tiny_parts()
    stage = stage_of(parts, strength=3.0)
    captions = stage.pictures.batch(0, slice(0, 6)).captions
    missing = 0.0
    for caption in captions:
        found = stage.find(caption)
        assert (found is None) == ("left" not in caption and "right" not in caption)
        if found is not None:
            missing += 9.0 * (12 - found[1])
    assert missing > 0
    width = parts.models()["text_encoder"].config.hidden_size
    torch.testing.assert_close(stage.loss(0), torch.tensor(missing / (len(captions) * 12 * width)))


def test_phrases_are_found_as_words_the_longest_first() -> None:
    stage = stage_of(tiny_parts())
    tokens = stage.parts.backbone.component("tokenizer")("a dog").input_ids
    assert stage.find("a dog to the LEFT") == (0, len(tokens) - 1)
    assert stage.find("right") == (1, 1)
    assert stage.find("a dog leftover") is None and stage.find("") is None


def test_words_come_apart_and_the_rest_stays(tmp_path: Path) -> None:
    parts = tiny_parts()
    before = states(parts, "dog"), states(parts, "dog left"), states(parts, "dog right")
    stage = stage_of(parts, strength=2.0)
    run = Trainer(stage, TrainConfig(steps=150, learning_rate=1e-2, warmup_steps=0, ema_decay=0.9), tmp_path)
    first = sum(run.train_step() for _ in range(5))
    for _ in range(140):
        run.train_step()
    assert sum(run.train_step() for _ in range(5)) < 0.5 * first
    after = states(parts, "dog"), states(parts, "dog left"), states(parts, "dog right")
    apart = [(states_of[1] - states_of[2])[-1].norm() for states_of in (before, after)]
    assert apart[1] > apart[0] + 1.0
    assert (after[0] - before[0]).norm() < 0.3 * (after[1] - before[1]).norm()


def test_directions_are_orthonormal_and_the_seed_s() -> None:
    rows = directions(5, 16, seed=1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(5), atol=1e-5, rtol=0)
    assert rows.equal(directions(5, 16, seed=1)) and not rows.equal(directions(5, 16, seed=2))


def test_all_that_is_said_of_motions_is_told_apart_but_standing_still() -> None:
    phrases = motion_phrases()
    assert set(phrases) == set(MOTION_PHRASES) - {"still"}
    assert set(MOTION_PHRASES["left"]) | set(GROUP_MOTIONS[""]["left"]) <= set(phrases["left"])
    assert len({one for ways in phrases.values() for one in ways}) == sum(map(len, phrases.values()))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"groups": {}}, "must not be empty"),
        ({"groups": {"left": ()}}, "must not be empty"),
        ({"strength": 0.0}, "strength"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config: dict, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TextSeparationConfig(**config)


def test_more_groups_than_dimensions_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="17 groups"):
        TextSeparationStage(
            tiny_parts(), tiny_pictures(), TextSeparationConfig(groups={str(i): (str(i),) for i in range(17)})
        )


def test_a_source_that_tells_its_captions_draws_nothing() -> None:
    class Told(Captions):
        def batch(self, step: int, rows: slice) -> TrainingBatch:
            raise AssertionError("nobody needs pictures")

        def captions_of(self, step: int, rows: slice) -> list[str]:
            return Captions().batch(step, rows).captions

    parts = tiny_parts()
    expected = TextSeparationStage(parts, Captions(), TextSeparationConfig(groups=SIDES)).loss(0)
    torch.testing.assert_close(
        TextSeparationStage(parts, Told(), TextSeparationConfig(groups=SIDES)).loss(0), expected
    )
