"""The folder of a run: who may write to it, what of it was done before, and what a killed process left.

FOLDER/
  recipe.yaml                    what was run, every value resolved
  STAGE/checkpoint-00001000.pt   to go on from
  STAGE/losses.csv, samples/     what happened
  STAGE/weights.safetensors      the averaged (EMA) weights of a finished stage
  model/                         what `--model` and `from_pretrained` load
  clip_model/                    the whole CLIP of stage clip, whose projections a pipeline has no use for
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stylecrafter.errors import InvalidInputError, OutputError
from stylecrafter.media.documents import is_file, is_folder, read_text, read_yaml
from stylecrafter.media.files import check_writable, remove_parts, write_atomic
from stylecrafter.runtime.locks import Lock, only_one
from stylecrafter.training.checkpoint import delete_unfinished, keep_last, list_checkpoints
from stylecrafter.training.old_names import todays_recipe
from stylecrafter.training.recipe_files import RECORD
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.tracking import forget_after

logger = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"


class RunFolder:
    """Where a run keeps everything.

    Args:
        path: The folder; it need not be there.
        recipe: What is run there.
    """

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        self._lock: Lock | None = None

    @property
    def record(self) -> Path:
        """The file with the recipe."""
        return self.path / RECORD

    def holds_work(self) -> bool:
        """Whether anything was trained here that could be lost: a checkpoint, weights or a model."""
        if any(list_checkpoints(self.path / spec.name) for spec in self.recipe.stages):
            return True
        if not is_file(self.record):
            return False
        try:
            folders = [path for path in self.path.iterdir() if is_folder(path)]
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {error.strerror}.") from error
        return any(
            list_checkpoints(path) or is_file(path / WEIGHTS) or is_file(path / "model_index.json")
            for path in folders
        )

    def check(self, *, resume: bool) -> None:
        """Refuse a folder in which the recipe cannot be run. Nothing is written.

        Raises:
            OutputError: It is no folder, holds a run and `resume` is off, or the run of another recipe.
        """
        if os.path.exists(self.path) and not is_folder(self.path):
            raise OutputError(f"{self.path} is a file; a run needs a folder.")
        for stage in self.recipe.stages:
            place = self.path / stage.name
            if os.path.exists(place) and not is_folder(place):
                raise OutputError(f"{place} is a file; the stage {stage.name!r} needs a folder of that name.")
        if not self.holds_work():
            self._refuse_foreign_record()
            return
        if not resume:
            raise OutputError(
                f"{self.path} holds a run already: --resume goes on with it, or name a new folder"
            )
        before = self._recorded()
        if before.get("name", self.recipe.name) != self.recipe.name:
            raise OutputError(
                f"{self.path} holds a run of the recipe {before['name']!r}, not of {self.recipe.name!r}: "
                "name another folder"
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out, and remove what killed ones left.

        Raises:
            OutputError: Another process is at work here, or the folder takes no files.
        """
        with only_one(self.path, "run") as self._lock:
            check_writable(self.record)
            self._tidy()
            yield

    def check_in_place(self) -> None:
        """See that the folder is still there while a run is at work.

        Raises:
            OutputError: It was removed or replaced.
        """
        if self._lock is not None and not self._lock.is_in_place():
            raise OutputError(
                f"{self.path} was removed or replaced while the run was at work there: begin it anew"
            )

    def _tidy(self) -> None:
        # Temporaries in the folder itself, of the exported models too, are gone by now: `check_writable`.
        for spec in self.recipe.stages:
            folder = self.path / spec.name
            if not folder.is_dir():
                continue
            remove_parts(folder)
            remove_parts(folder / "samples")
            delete_unfinished(folder)
            if is_file(folder / WEIGHTS):
                self.finish(spec.name)

    def finish(self, stage: str) -> None:
        """Delete the checkpoints of a finished stage, but for the last one."""
        keep_last(self.path / stage, 1)

    def write_record(self) -> None:
        """Write down the recipe, and say what in it is not as the run began.

        Raises:
            OutputError: It cannot be written.
        """
        text = self._record_text()
        before = self._recorded()
        if not before and is_file(self.record):
            logger.warning("%s cannot be read; it is written anew", self.record)
        changed = _changes(before, yaml.safe_load(text)) if before and self.holds_work() else []
        if changed:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            logger.warning(
                "the recipe differs from the one that %s began with (%s%s); finished stages stay",
                self.path, ", ".join(changed[:5]), more,
            )  # fmt: skip
        write_atomic(self.record, text.encode())

    def begin(self) -> bool:
        """Write down the recipe of a run that begins, in place of starts that came to no checkpoint.

        Returns:
            Whether there was no recipe before.
        """
        new = not is_file(self.record)
        if not new:
            self._clear()
        self.write_record()
        return new

    def withdraw(self) -> None:
        """Remove the recipe of a run that came to no step."""
        self._clear()
        self.record.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Remove what starts that came to no checkpoint have reported."""
        stages = self._recorded().get("stages")
        names = {str(spec.get("name")) for spec in stages or () if isinstance(spec, dict)}
        for folder in [self.path / name for name in names | {spec.name for spec in self.recipe.stages}]:
            if folder.is_dir() and folder.parent == self.path:
                forget_after(folder, 0)
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _refuse_foreign_record(self) -> None:
        """A recipe of someone's own may lie there by that name: a run would write over it."""
        if not is_file(self.record):
            return
        text = read_text(self.record, error=OutputError)
        if text and yaml.safe_dump(self._read_record(), sort_keys=False) != text:
            raise OutputError(
                f"{self.record} was not written by a run, which would replace it: name another folder, or move it away"
            )

    def holds_another(self) -> bool:
        """Whether the folder holds a run whose recipe differs from this one, be it in a number of steps."""
        return self.holds_work() and self._recorded() != yaml.safe_load(self._record_text())

    def _record_text(self) -> str:
        return yaml.safe_dump(self.recipe.standalone().model_dump(mode="json"), sort_keys=False)

    def _recorded(self) -> dict[str, Any]:
        """The recipe that was written down, as this version would do it; what it cannot read is left as it is."""
        content = self._read_record()
        try:
            content = todays_recipe(content)
            return Recipe.model_validate(content).model_dump(mode="json")
        except (ValidationError, InvalidInputError):
            return content

    def _read_record(self) -> dict[Any, Any]:
        """What was written down; empty where there is nothing, or nothing that can be read."""
        if not is_file(self.record):
            return {}
        try:
            content = read_yaml(self.record)
        except InvalidInputError:
            return {}
        return content if isinstance(content, dict) else {}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What differs, each as "key old -> new"."""
    one, other = _flat(before), _flat(after)
    keys = [*one, *(key for key in other if key not in one)]
    return [f"{key} {one.get(key)} -> {other.get(key)}" for key in keys if one.get(key) != other.get(key)]


def _flat(values: Any, key: str = "") -> dict[str, Any]:
    """Values by their path in a recipe, stages by name."""
    if isinstance(values, list) and all(isinstance(value, dict) for value in values):
        values = {str(value.get("name", i)): value for i, value in enumerate(values)}
    if not isinstance(values, dict):
        return {key: values}
    inner = (_flat(value, f"{key}.{name}" if key else str(name)) for name, value in values.items())
    return {name: value for part in inner for name, value in part.items()}
