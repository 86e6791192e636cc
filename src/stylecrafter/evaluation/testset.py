"""What is asked of a model: prompts with style pictures, from a file in the published layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from stylecrafter.evaluation.truth.world_set import WorldSetSpec, read_truth
from stylecrafter.generation.batch_file import Entry, read_entries
from stylecrafter.media.images import load_picture
from stylecrafter.media.tensors import to_tensor


@dataclass(frozen=True)
class TestSet:
    """Entries and their pictures.

    Attributes:
        file: Where it was read from.
        entries: What is asked, in the order of the file.
        pictures: Paths of all different style pictures, in the order in which they come first.
        truth: How StyleWorld drew it, where it did.
    """

    __test__ = False  # not a class of tests, whatever pytest thinks of its name

    file: Path
    entries: tuple[Entry, ...]
    pictures: tuple[str, ...]
    truth: WorldSetSpec | None

    def references_of(self, entry: Entry) -> tuple[int, ...]:
        """Positions of an entry's pictures in `pictures`."""
        return tuple(self.pictures.index(path) for path in entry.styles)

    def load_pictures(self) -> list[torch.Tensor]:
        """All pictures as (3, h, w) in [0, 1].

        Raises:
            ImageReadError: One is missing or cannot be read.
        """
        return [to_tensor(load_picture(path)) for path in self.pictures]


def read_testset(file: str | os.PathLike[str], limit: int | None = None) -> TestSet:
    """Read a test set in the published layout.

    Args:
        file: See `generation.batch_file`.
        limit: Only the first so many entries.

    Raises:
        InvalidInputError: The file is missing or something else; or `truth.json` beside it does not fit it.
    """
    path = Path(file)
    whole = read_entries(path)
    truth = read_truth(path, whole)
    entries = tuple(whole[:limit])
    pictures = tuple(dict.fromkeys(style for entry in entries for style in entry.styles))
    return TestSet(path, entries, pictures, truth)
