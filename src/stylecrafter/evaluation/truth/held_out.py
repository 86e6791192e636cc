"""What StyleWorld can say for certain of a model: references and prompts that training never saw, and their truth.

Every reference is asked of every prompt. The references are in held-out palettes and parameters, a part of them in
kinds of style that no training picture shows; each shows an object that no prompt of its row names, so that it can be
seen where content leaks out of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.probes import QUESTIONS, world_indices
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.styles import STYLE_NAMES

#: Motions that differ in nothing but their direction; the accuracy of "motion direction" is over prompts with these.
DIRECTIONS = ("left", "right", "up", "down")


@dataclass(frozen=True)
class HeldOutSet:
    """`references` x `prompts`: clip `r * len(prompts) + p` shows prompt p in the style of reference r.

    `companions`: where a style is given by several pictures, the others of them, each batch in the order of
    `references`: the same styles on other contents.
    """

    references: world.WorldBatch
    prompts: world.WorldBatch
    texts: tuple[str, ...]
    vocabulary: splits.Vocabulary
    held_out_kinds: tuple[str, ...]
    companions: tuple[world.WorldBatch, ...] = ()

    def __len__(self) -> int:
        return len(self.references) * len(self.prompts)

    @property
    def reference_of(self) -> torch.Tensor:
        """Index of each clip's reference, (n,)."""
        return torch.arange(len(self.references)).repeat_interleave(len(self.prompts))

    @property
    def prompt_of(self) -> torch.Tensor:
        """Index of each clip's prompt, (n,)."""
        return torch.arange(len(self.prompts)).repeat(len(self.references))

    @property
    def of_held_out_kind(self) -> torch.Tensor:
        """Whether a clip's reference is of a kind of style that training never showed, bool (n,)."""
        kinds = torch.tensor([STYLE_NAMES.index(name) for name in self.held_out_kinds], dtype=torch.long)
        return torch.isin(self.references.style, kinds)[self.reference_of]

    def real_clips(self, rows: torch.Tensor, size: int, num_frames: int) -> torch.Tensor:
        """What the clips of these rows would be, drawn by the world itself: (n, f, 3, size, size) in [0, 1]."""
        contents = self.prompts[self.prompt_of[rows]]
        return world.render(contents.in_style_of(self.references[self.reference_of[rows]]), size, num_frames)


def held_out_set(
    vocabulary: splits.Vocabulary,
    *,
    references: int = 20,
    prompts: int = 12,
    unseen_kinds: int = 6,
    pictures: int = 1,
    seed: int = 0,
) -> HeldOutSet:
    """Draw the set; the same seed draws the same one.

    Args:
        vocabulary: Objects, scenes, motions and kinds of style that the model knows.
        references: How many styles; the last `unseen_kinds` of them are of `splits.HELD_OUT_STYLES`, in turn.
        prompts: How many contents; objects, scenes and motions are spread evenly, motions over `DIRECTIONS` first.
        unseen_kinds: How many references are of unseen kinds.
        pictures: How many pictures each style is given by; none shows an object that a prompt names.
        seed: Source of all randomness.

    Raises:
        InvalidInputError: Fewer than two references, no prompt or picture, more unseen kinds than references, or a
            vocabulary with too few objects for each reference to show one that no prompt names.
    """
    if references < 2 or prompts < 1 or pictures < 1 or not 0 <= unseen_kinds <= references:
        raise InvalidInputError(
            f"{references} references ({unseen_kinds} of unseen kinds) of {pictures} picture(s) x {prompts} prompts; "
            "at least 2 references, 1 picture and 1 prompt are needed, and no more unseen kinds than references"
        )
    if len(vocabulary.objects) < prompts + 1:
        raise InvalidInputError(
            f"{prompts} prompts need {prompts + 1} objects, one of them for the references; "
            f"the vocabulary has {len(vocabulary.objects)}"
        )
    generator = torch.Generator().manual_seed(seed)
    styles = world.sample(references, generator, vocabulary=vocabulary, split="held_out")
    contents = world.sample(prompts, generator, vocabulary=vocabulary, split="held_out")
    order = torch.randperm(len(vocabulary.objects), generator=generator)
    things = {question: world_indices(question, vocabulary) for question in QUESTIONS}
    named, others = things["object"][order[:prompts]], things["object"][order[prompts:]]
    directions = [name for name in DIRECTIONS if name in vocabulary.motions] or list(vocabulary.motions)
    motions = things["motion"][[vocabulary.motions.index(name) for name in directions]]
    unseen = torch.tensor([STYLE_NAMES.index(name) for name in splits.HELD_OUT_STYLES])
    kinds = styles.style.clone()
    if unseen_kinds:
        kinds[-unseen_kinds:] = unseen[torch.arange(unseen_kinds) % len(unseen)]
    styles = styles.replace(style=kinds, thing=others[torch.arange(references) % len(others)])
    contents = contents.replace(
        thing=named,
        scene=things["scene"][torch.arange(prompts) % len(vocabulary.scenes)],
        motion=motions[torch.arange(prompts) % len(motions)],
        camera=torch.zeros_like(contents.camera),
    )
    texts = contents.content_captions(random.Random(seed), moving=True)
    companions = []
    for k in range(1, pictures):
        # A generator of its own: the set is the same however many pictures its styles are given by.
        own = torch.Generator().manual_seed(seed * 1009 + k)
        drawn = world.sample(references, own, vocabulary=vocabulary, split="held_out").in_style_of(styles)
        companions.append(drawn.replace(thing=others[(torch.arange(references) + k) % len(others)]))
    return HeldOutSet(styles, contents, tuple(texts), vocabulary, splits.HELD_OUT_STYLES, tuple(companions))
