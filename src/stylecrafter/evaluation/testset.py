"""What is asked of a model: prompts with style pictures, from a file in the published layout or drawn by StyleWorld.

A set that StyleWorld draws is written in the same layout, with a `truth.json` beside it that says how it was drawn, so
that the truth about every clip can be had again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.held_out import HeldOutSet, held_out_set
from stylecrafter.generation.batch_file import Entry, read_entries
from stylecrafter.media.documents import is_file, read_json, shown
from stylecrafter.media.files import write_atomic
from stylecrafter.media.images import load_picture
from stylecrafter.media.tensors import to_pictures, to_tensor
from stylecrafter.media.video import write_frames
from stylecrafter.runtime.seeding import MAX_SEED
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.wording import style_words

FILE_NAME, TRUTH_NAME, PICTURES_NAME = "testset.json", "truth.json", "pictures"
#: Words for the style pictures, for the baseline that puts them into the prompt; see `methods.read_style_texts`.
STYLE_TEXTS_NAME = "style_texts.json"


class WorldSetSpec(BaseModel):
    """How a StyleWorld set is drawn; see `held_out.held_out_set`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: str = "small"
    references: int = Field(20, ge=1, le=10_000)
    prompts: int = Field(12, ge=1, le=10_000)
    unseen_kinds: int = Field(6, ge=0, le=100)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    size: int = Field(64, ge=8, le=1024)
    pictures: int = Field(1, ge=1, le=64)

    @classmethod
    def of(cls, values: Any, what: str) -> Self:
        """From settings by their names; `what` is what errors call them.

        Raises:
            InvalidInputError: No such settings; the message names the first that cannot be.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "it"
            value = shown(repr(problem["input"]))
            raise InvalidInputError(f"{what}: {where} cannot be {value}: {problem['msg']}.") from error

    def draw(self) -> HeldOutSet:
        """The set that this describes.

        Raises:
            InvalidInputError: There is no such vocabulary, or the numbers do not fit it.
        """
        return held_out_set(
            splits.find_vocabulary(self.vocabulary),
            references=self.references,
            prompts=self.prompts,
            unseen_kinds=self.unseen_kinds,
            pictures=self.pictures,
            seed=self.seed,
        )


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
    truth = _read_truth(path)
    if truth is not None:
        _check_truth(path, whole, truth)
    entries = tuple(whole[:limit])
    pictures = tuple(dict.fromkeys(style for entry in entries for style in entry.styles))
    return TestSet(path, entries, pictures, truth)


def write_world_set(spec: WorldSetSpec, folder: str | os.PathLike[str]) -> Path:
    """Draw a StyleWorld set and write it in the published layout, with its truth; returns its file.

    A folder that holds the same set already is left as it is.

    Raises:
        InvalidInputError: The numbers do not fit, or another set is in the folder.
        OutputError: The folder cannot be written.
    """
    target = Path(folder)
    file, truth = target / FILE_NAME, target / TRUTH_NAME
    if file.is_file():
        if _read_truth(file) != spec:
            raise InvalidInputError(f"{target} holds another test set; name another folder.")
        return file
    drawn = spec.draw()
    names = _picture_names(spec)
    for k, batch in enumerate((drawn.references, *drawn.companions)):
        for index, picture in enumerate(to_pictures(world.render(batch, spec.size)[:, 0])):
            write_frames([picture], target / names[index][k], fps=1)
    entries = [
        {"prompt": prompt, "style_path": paths if spec.pictures > 1 else paths[0]}
        for prompt, paths in _asked(spec, drawn)
    ]
    words = {
        Path(of[0]).name: style_words(int(drawn.references.style[i]), int(drawn.references.family[i]))
        for i, of in enumerate(names)
    }
    write_atomic(target / STYLE_TEXTS_NAME, _json(words))
    write_atomic(truth, _json(spec.model_dump()))
    return write_atomic(file, _json(entries))


def _picture_names(spec: WorldSetSpec) -> list[list[str]]:
    """Paths of the pictures of each style, from the folder of the set."""
    return [
        [f"{PICTURES_NAME}/{index:02d}{f'_{k}' if k else ''}.png" for k in range(spec.pictures)]
        for index in range(spec.references)
    ]


def _asked(spec: WorldSetSpec, drawn: HeldOutSet) -> list[tuple[str, list[str]]]:
    """Prompt and pictures of every entry."""
    names = _picture_names(spec)
    pairs = zip(drawn.reference_of.tolist(), drawn.prompt_of.tolist(), strict=True)
    return [(drawn.texts[prompt], names[reference]) for reference, prompt in pairs]


def _check_truth(file: Path, entries: Sequence[Entry], truth: WorldSetSpec) -> None:
    """Refuse a set that was changed since it was drawn: the truth is known by an entry's place in it."""
    drawn = _asked(truth, truth.draw())
    for index, entry in enumerate(entries):
        prompt, paths = drawn[index] if index < len(drawn) else (None, [])
        styles = [os.path.relpath(style, file.parent) for style in entry.styles]
        if entry.prompt != prompt or styles != [os.path.normpath(path) for path in paths]:
            raise InvalidInputError(
                f"entry {index} of {file} is not the one that {TRUTH_NAME} beside it knows the truth of; "
                f"give the changed set another name, or a folder without {TRUTH_NAME}."
            )


def _read_truth(file: Path) -> WorldSetSpec | None:
    truth = file.parent / TRUTH_NAME
    if file.name != FILE_NAME or not is_file(truth):
        return None
    return WorldSetSpec.of(read_json(truth), shown(truth))


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"
