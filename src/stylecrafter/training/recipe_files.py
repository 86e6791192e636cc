"""Recipes as files: found by name or path, changed from the command line, refused with the place that is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.media.documents import expand_home, is_file, is_folder, parse_yaml, read_text, shown
from stylecrafter.media.recognise import recognise_file
from stylecrafter.runtime.faults import Fault, faults_of, joined, shown_value, unknown_key
from stylecrafter.training.model_spec import ModelSpec
from stylecrafter.training.old_names import todays_key, todays_recipe
from stylecrafter.training.recipe_checks import Outline, faults_between, sources_of
from stylecrafter.training.recipe_keys import (
    RecipeLoader,
    from_here,
    keys_at,
    kinds_at,
    names_in,
    place_in,
    read_value,
)
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.source_specs import FilesSpec, SourceSpec
from stylecrafter.training.stage_specs import StageSpec

logger = logging.getLogger(__name__)

#: What a run was begun with, in its folder.
RECORD = "recipe.yaml"
#: Text that people write; the longest that comes along has 6 KiB.
MAX_BYTES = 2**20


def load_recipe(name: str | os.PathLike[str], changes: Sequence[str] | None = None) -> Recipe:
    """Read a recipe by name (`recipes/`) or path, with `key=value` changes ("stages.0.train.steps=100").

    A stage may be named by its name instead of its position: "stages.adapter.train.steps=100". What stands for text
    (a path, a name, a prompt) is taken as it is typed, other values are YAML. A warm-up that is longer than the steps
    of a change, and is not changed itself, is shortened to them.

    Raises:
        InvalidInputError: It is not there, is not YAML, or does not say what a recipe says; the message names every
            place that is wrong and, for an unknown key, the nearest known one.
    """
    path = find_recipe(name)
    raw = parse_yaml(read_text(path, limit=MAX_BYTES), shown(path), loader=RecipeLoader)
    if not isinstance(raw, dict):
        found = recognise_file(path)
        raise InvalidInputError(
            f"{shown(path)} {f'is {found}' if found else f'must hold a mapping, got {type(raw).__name__}'}"
        )
    if "folder" in raw:
        raise InvalidInputError(
            f"{shown(path)}: unknown key 'folder'. Paths in a recipe start at the folder of its file."
        )
    wrong: list[InvalidInputError] = []
    try:
        raw = todays_recipe(raw)
        for change in changes or []:
            try:
                _apply(raw, change)
            except InvalidInputError as error:
                wrong.append(error)
        raw = todays_recipe(raw)  # a change may give a whole part by old names
    except InvalidInputError as error:
        raise InvalidInputError(f"{shown(path)}: {error}") from error
    _shorten_warmups(raw, changes or [])
    raw["folder"] = path.parent
    told = [Fault((), str(error)) for error in wrong]
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise InvalidInputError(f"{shown(path)}: {joined([*told, *_all_faults(raw, error)])}") from error
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        raise InvalidInputError(joined(told))
    return recipe


def recipe_folder() -> Path:
    """Where the recipes that come with the package lie."""
    import stylecrafter

    installed = Path(stylecrafter.__file__).parent / "recipes"
    return installed if installed.is_dir() else Path(stylecrafter.__file__).parents[2] / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def find_recipe(name: str | os.PathLike[str]) -> Path:
    """The file of a recipe.

    Raises:
        InvalidInputError: No such file.
        UnknownNameError: No such name.
    """
    text = os.fspath(name)
    if text.endswith((".yaml", ".yml")) or os.sep in text:
        path = expand_home(text)
        if is_folder(path):
            raise InvalidInputError(f"{shown(text)} is a folder; a recipe is a .yaml file")
        if not os.path.exists(path):
            raise InvalidInputError(
                f"no recipe at {shown(text)}; recipes that come along: {', '.join(recipe_names())}"
            )
        return path
    if text not in recipe_names():
        raise unknown_name("recipe", text, recipe_names(), "A path ends in .yaml.")
    return recipe_folder() / f"{text}.yaml"


def recorded_recipe(folder: Path) -> Path:
    """The recipe that a run in `folder` was begun with.

    Raises:
        InvalidInputError: No run was begun there.
    """
    path = folder / RECORD
    if not is_file(path):
        raise InvalidInputError(f"no run was begun in {shown(folder)}: there is no {shown(path)}")
    return path


def split_change(change: str) -> tuple[str, str]:
    """Key and text of "key=value".

    Raises:
        InvalidInputError: It is not of that form.
    """
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise InvalidInputError(f"--set takes key=value, got {change!r}")
    return key, text


def refuse_unnamed_files(recipe: Recipe, until: str | None = None) -> None:
    """Refuse a recipe of the package whose own names of folders still stand for the user's.

    Args:
        recipe: As it was read and changed; changes are absolute paths.
        until: The last stage that is wanted.

    Raises:
        InvalidInputError: It says what to give.
    """
    if os.path.realpath(recipe.folder) != os.path.realpath(recipe_folder()):
        return
    names = [stage.name for stage in recipe.stages]
    if until is not None and until not in names:
        return  # what is wrong then is the stage
    stages = recipe.stages if until is None else recipe.stages[: names.index(until) + 1]
    unnamed = []
    for name in sources_of(recipe.data, stages):
        spec = recipe.data[name]
        if isinstance(spec, FilesSpec) and not os.path.isabs(spec.path):
            if not os.path.exists(os.path.join(recipe.folder, spec.path)):
                unnamed.append(f"--set data.{name}.path=FOLDER")
    if unnamed:
        raise InvalidInputError(
            f"the recipe {recipe.name!r} learns from files of your own: add {' '.join(unnamed)} (a folder, a .csv, a "
            ".jsonl or a .tar; `stylecrafter data check FOLDER` tells what of it would be used)"
        )


def _apply(raw: dict[str, Any], change: str) -> None:
    """Set one value of a recipe before it is checked."""
    key, text = split_change(change)
    steps = key.split(".")
    if steps[0] in ("model", "stages"):
        # What a stage is called, and the keys of "data", are names of the recipe's own.
        steps = [
            step if number == 1 and steps[0] == "stages" else todays_key(step)
            for number, step in enumerate(steps)
        ]
    place = _place(raw, steps, key)
    value = from_here(steps, read_value(text, kinds_at(steps, raw), f"--set {key}={shown_value(text)}"))
    here: Any = raw
    for step in place[:-1]:
        if isinstance(here, dict) and here.get(step) is None:
            here[step] = {}
        here = here[step]
    here[place[-1]] = value


def _place(raw: dict[str, Any], steps: Sequence[str], key: str) -> list[str | int]:
    """The way to a key, with positions in place of the names of stages.

    A key that nobody reads is refused: what is wrong is the key then, whatever the value.
    """
    here: Any = raw
    place: list[str | int] = []
    for end, step in enumerate(steps):
        known = keys_at(steps[:end], raw)
        if known and step not in known:
            raise InvalidInputError(f"--set {key}: {joined([unknown_key((*steps[:end], step), known)])}")
        if isinstance(here, list):
            number = place_in(here, step)
            if number is None:
                raise unknown_name(f"entry in --set {key}:", step, filter(None, names_in(here)))
            place.append(number)
            here = here[number]
        elif here is None or isinstance(here, dict):
            place.append(step)
            here = None if here is None else here.get(step)
        else:
            raise InvalidInputError(f"--set {key}: {'.'.join(steps[:end])} holds no keys")
    return place


def _shorten_warmups(raw: dict[str, Any], changes: Sequence[str]) -> None:
    """Steps that are lowered by a change take the recipe's own warm-up along: a short trial needs one change."""
    stages = raw.get("stages")
    if not isinstance(stages, list):
        return
    changed = {
        (place_in(stages, steps[1]), steps[3])
        for steps in (change.partition("=")[0].split(".") for change in changes)
        if len(steps) == 4 and steps[0] == "stages" and steps[2] == "train"
    }
    for number, stage in enumerate(stages):
        train = stage.get("train") if isinstance(stage, dict) else None
        if (
            not isinstance(train, dict)
            or (number, "steps") not in changed
            or (number, "warmup_steps") in changed
        ):
            continue
        steps, warmup = _whole(train.get("steps")), _whole(train.get("warmup_steps"))
        if steps is not None and warmup is not None and 0 < steps < warmup:
            logger.info(
                "stages.%s.train.warmup_steps: %d, as many as the steps", names_in(stages)[number], steps
            )
            train["warmup_steps"] = steps


def _whole(value: Any) -> int | None:
    """A whole number as it is read later, None for what is none."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if type(value) is int else None


def _all_faults(raw: dict[str, Any], error: ValidationError) -> list[Fault]:
    """Everything that is wrong: in the parts, and between those that are right."""
    outline = _outline(raw)
    return [*faults_of(error), *(faults_between(outline) if outline is not None else ())]


def _outline(raw: dict[str, Any]) -> Outline | None:
    """The parts that are right in themselves."""
    data, stages, adapter = raw.get("data"), raw.get("stages"), raw.get("adapter", {})
    if not isinstance(data, dict) or not isinstance(stages, list):
        return None
    found = [_stage(value) for value in stages]
    return Outline(
        model=_valid(ModelSpec, raw.get("model")),
        adapter=adapter if isinstance(adapter, dict) else {},
        data={str(name): _valid(SourceSpec, value) for name, value in data.items()},
        stages=[(number, stage) for number, stage in enumerate(found) if stage is not None],
        complete=None not in found,
    )


def _stage(value: Any) -> StageSpec | None:
    """A stage; of one that is wrong, what it is called and shown."""
    whole = _valid(StageSpec, value)
    if whole is not None or not isinstance(value, dict):
        return whole
    rest = {key: value[key] for key in ("stage", "name", "pictures", "clips") if key in value}
    return _valid(StageSpec, {**rest, "train": {"steps": 1, "learning_rate": 1e-3}})


def _valid(kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None
