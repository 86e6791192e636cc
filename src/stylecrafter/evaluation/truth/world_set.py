"""Sets that StyleWorld draws for a model: what they are made of, and their files in the published layout.

Beside the set lies a `truth.json` that says how it was drawn, so that the truth about every clip can be had again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.held_out import HeldOutSet, held_out_set
from stylecrafter.generation.batch_file import Entry
from stylecrafter.generation.models import look_up_model
from stylecrafter.media.documents import is_file, read_json, shown
from stylecrafter.media.files import write_atomic
from stylecrafter.media.tensors import to_pictures
from stylecrafter.media.video import write_frames
from stylecrafter.runtime.faults import faults_of, joined
from stylecrafter.runtime.seeding import MAX_SEED
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.wording import style_words
from stylecrafter.weights.card import read_world

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
            raise InvalidInputError(f"{what}: {joined(faults_of(error, cls.model_fields))}.") from error

    def draw(self) -> HeldOutSet:
        """The set that this describes.

        Raises:
            InvalidInputError: There is no such vocabulary, or the numbers do not fit it.
        """
        numbers = self.model_dump(exclude={"vocabulary", "size"})
        return held_out_set(splits.find_vocabulary(self.vocabulary), **numbers)


def world_set_for(model: str, *, vocabulary: str | None = None, **numbers: int) -> WorldSetSpec:
    """The StyleWorld set that fits a model: in the words that it knows and at its own size.

    Args:
        model: Embedded model, folder or hub id.
        vocabulary: Name of a vocabulary, for models that do not say what they know.
        numbers: As `WorldSetSpec` has them.

    Raises:
        InvalidInputError: There is no such model, nothing tells its vocabulary, or a number cannot be.
    """
    facts = look_up_model(model)
    if vocabulary is None:
        objects = read_world(facts.folder).get("objects", [])
        known = (name for name, words in splits.VOCABULARIES.items() if list(words.objects) == objects)
        vocabulary = next(known, None)
    if vocabulary is None:
        raise InvalidInputError(
            f"model {facts.name!r} does not say which words of StyleWorld it knows; name a vocabulary: "
            f"{', '.join(splits.VOCABULARIES)}."
        )
    drawn = {**numbers, "vocabulary": vocabulary, "size": int(facts.default("width"))}
    return WorldSetSpec.of(drawn, "a set of StyleWorld")


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
        if _kept(file) != spec:
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


def read_truth(file: Path, entries: Sequence[Entry]) -> WorldSetSpec | None:
    """How StyleWorld drew the set of a file; None: it did not.

    Args:
        file: Of the set.
        entries: All that it holds.

    Raises:
        InvalidInputError: `truth.json` beside it is something else, or the set was changed since it was drawn: the
            truth is known by an entry's place in it.
    """
    truth = _kept(file)
    if truth is not None:
        _check(file, entries, truth)
    return truth


def _kept(file: Path) -> WorldSetSpec | None:
    truth = file.parent / TRUTH_NAME
    if file.name != FILE_NAME or not is_file(truth):
        return None
    return WorldSetSpec.of(read_json(truth), shown(truth))


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


def _check(file: Path, entries: Sequence[Entry], truth: WorldSetSpec) -> None:
    drawn = _asked(truth, truth.draw())
    for index, entry in enumerate(entries):
        prompt, paths = drawn[index] if index < len(drawn) else (None, [])
        styles = [os.path.relpath(style, file.parent) for style in entry.styles]
        if entry.prompt != prompt or styles != [os.path.normpath(path) for path in paths]:
            raise InvalidInputError(
                f"entry {index} of {file} is not the one that {TRUTH_NAME} beside it knows the truth of; "
                f"give the changed set another name, or a folder without {TRUTH_NAME}."
            )


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode() + b"\n"
