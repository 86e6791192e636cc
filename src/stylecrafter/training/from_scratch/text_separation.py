"""Text-encoder separation: the stage that lets the text encoder tell words apart which pictures alone did not teach it.

A text encoder that learned from still pictures has no use for "left" and "right": its states hardly differ (5.5 % at
one of 32 positions in `mini`), and a denoiser that looks at them needs very long to learn what moves where.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from stylecrafter.data.batch import BatchSource, Captioned
from stylecrafter.errors import InvalidInputError
from stylecrafter.runtime.devices import to_device
from stylecrafter.runtime.seeding import step_generator
from stylecrafter.styleworld.lexicon import GROUP_MOTIONS, MOTION_PHRASES
from stylecrafter.training.batch_shares import WHOLE, Shard
from stylecrafter.training.from_scratch.picture_stage import PictureStage
from stylecrafter.training.parts import Parts, freeze_all_but, prefixed
from stylecrafter.training.settings import AnySeed, Positive, StageSettings


def motion_phrases() -> dict[str, tuple[str, ...]]:
    """Name of a motion of StyleWorld -> all that is said of it; standing still is the absence of motion."""
    ways = {name: list(phrases) for name, phrases in MOTION_PHRASES.items() if name != "still"}
    for group in GROUP_MOTIONS.values():
        for name, phrases in group.items():
            if name in ways:
                ways[name] += phrases
    return {name: tuple(dict.fromkeys(phrases)) for name, phrases in ways.items()}


#: Name -> phrases, of which none is empty.
Groups = Annotated[
    dict[str, Annotated[tuple[Annotated[str, Field(pattern=r"\S")], ...], Field(min_length=1)]],
    Field(min_length=1),
]


class TextSeparationConfig(StageSettings):
    """Which words the text encoder is to tell apart, and how far."""

    groups: Groups = Field(default_factory=motion_phrases)
    """Name -> phrases that mean the same; default: the motions of StyleWorld."""
    strength: Positive = 8.0
    """Length of a group's direction; the states of `mini` are 10 to 11 long."""
    seed: AnySeed = 0
    """Of the directions."""


@dataclass(frozen=True, kw_only=True)
class TextSeparationInputs:
    """What a step is computed from."""

    token_ids: Tensor
    """The captions (n, length)."""
    wanted: Tensor
    """What the encoder is to say of them (n, length, width)."""


class TextSeparationStage(PictureStage):
    """The text encoder alone: its own former states, plus one direction per group from the group's words on.

    All that it said before stays where it was, so that a UNet and an adapter which know it go on; directions of
    different groups are orthogonal. The states after a phrase carry its direction too: attention in the encoder is
    causal, and a denoiser that finds a word at every position learns it much sooner than at one.

    Args:
        parts: The models; the text encoder is trained.
        pictures: Whose captions are read, and nothing else.
        config: The words.

    Raises:
        InvalidInputError: There are more groups than the states have dimensions.
    """

    name = "words"

    def __init__(
        self, parts: Parts, pictures: BatchSource, config: TextSeparationConfig | None = None
    ) -> None:
        config = config or TextSeparationConfig()
        self.parts, self.pictures, self.config = parts, pictures, config
        self.text_encoder = parts.backbone.component("text_encoder")
        self.tokenizer = parts.backbone.component("tokenizer")
        width = self.text_encoder.config.hidden_size
        if len(config.groups) > width:
            raise InvalidInputError(
                f"{len(config.groups)} groups of words need states at least as wide, not {width}"
            )
        self._former = copy.deepcopy(self.text_encoder).requires_grad_(False)
        self._directions = directions(len(config.groups), width, config.seed) * config.strength
        self._phrases = [
            (re.compile(rf"\b{re.escape(phrase)}\b", re.IGNORECASE), group)
            for group, phrases in enumerate(config.groups.values())
            for phrase in phrases
        ]
        freeze_all_but(self.models().values(), self.trainable())

    def models(self) -> dict[str, nn.Module]:
        return {"text_encoder": self.text_encoder}

    def trainable(self) -> dict[str, nn.Parameter]:
        return prefixed("text_encoder", self.text_encoder.named_parameters())

    def inputs(self, step: int, shard: Shard = WHOLE) -> TextSeparationInputs:
        captions = self._captions(step, shard.rows(self.pictures.batch_size))
        device = self.text_encoder.device
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        ids = to_device(tokens.input_ids, device)
        added = torch.zeros(*tokens.input_ids.shape, self._directions.shape[1])
        for row, caption in enumerate(captions):
            found = self.find(caption)
            if found is not None:
                group, start = found
                added[row, start:] = self._directions[group]
        with torch.no_grad():
            # It is none of the models that are moved, and goes after the one that it was.
            former = self._former.to(device)(input_ids=ids).last_hidden_state.float()
            wanted = former + to_device(added, device)
        return TextSeparationInputs(token_ids=ids, wanted=wanted)

    def compute(self, inputs: TextSeparationInputs) -> Tensor:
        states = self.text_encoder(input_ids=inputs.token_ids).last_hidden_state
        return F.mse_loss(states.float(), inputs.wanted)

    def _captions(self, step: int, rows: slice) -> list[str]:
        if isinstance(self.pictures, Captioned):
            return self.pictures.captions_of(step, rows)
        return self.pictures.batch(step, rows).captions

    def find(self, caption: str) -> tuple[int, int] | None:
        """The group whose longest phrase is in a caption, and the position of the phrase's first token."""
        matches = [(m, group) for pattern, group in self._phrases if (m := pattern.search(caption))]
        if not matches:
            return None
        match, group = max(matches, key=lambda one: len(one[0].group()))
        # Before it come the start token and the words in front; the end token of those does not count.
        return group, len(self.tokenizer(caption[: match.start()].strip()).input_ids) - 1


def directions(n: int, width: int, seed: int) -> Tensor:
    """n orthonormal directions of a space of that width, as rows."""
    drawn = torch.randn(width, n, generator=step_generator(seed, 0))
    return torch.linalg.qr(drawn)[0].T
