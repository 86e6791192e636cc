"""Recipes as files: found by name or path, changed from the command line, refused with the place that is wrong."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.training.recipes import (
    FilesSpec,
    MixSpec,
    ModelSpec,
    Recipe,
    SampleSpec,
    StageSpec,
    WorldSpec,
)

#: What a run was begun with, in its folder.
RECORD = "recipe.yaml"


def load_recipe(name: str | os.PathLike[str], changes: list[str] | None = None) -> Recipe:
    """Read a recipe by name (`recipes/`) or path, with `key=value` changes ("stages.0.train.steps=100").

    A stage may be named by its name instead of its position: "stages.adapter.train.steps=100".

    Raises:
        InvalidInputError: It is not there, is not YAML, or does not say what a recipe says; the message names the
            place and, for an unknown key, the nearest known one.
    """
    path = find_recipe(name)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise InvalidInputError(f"{path} must hold a mapping, got {type(raw).__name__}")
    for change in changes or []:
        _apply(raw, change)
    if "folder" in raw:
        raise InvalidInputError(
            f"{path}: unknown key 'folder'. Paths in a recipe start at the folder of its file."
        )
    raw["folder"] = path.parent
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise InvalidInputError(f"{path}: {_explain(error)}") from error


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
        if not Path(text).is_file():
            raise InvalidInputError(
                f"no recipe at {text}; recipes that come along: {', '.join(recipe_names())}"
            )
        return Path(text)
    if text not in recipe_names():
        raise unknown_name("recipe", text, recipe_names(), "A path ends in .yaml.")
    return recipe_folder() / f"{text}.yaml"


def recorded_recipe(folder: Path) -> Path:
    """The recipe that a run in `folder` was begun with.

    Raises:
        InvalidInputError: No run was begun there.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InvalidInputError(f"no run was begun in {folder}: there is no {path}")
    return path


def parse_change(change: str) -> tuple[str, Any]:
    """Key and value of "key=value", the value read as YAML.

    Raises:
        InvalidInputError: It is not of that form.
    """
    key, equals, text = change.partition("=")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInputError(f"--set {change!r}: the value is not YAML: {error}") from error
    if not equals or not key:
        raise InvalidInputError(f"--set takes key=value, got {change!r}")
    return key, value


def _apply(raw: dict[str, Any], change: str) -> None:
    """Set one value of a recipe before it is checked."""
    key, value = parse_change(change)
    here: Any = raw
    *way, last = key.split(".")
    for step in way:
        here = _enter(here, step, key)
    if not isinstance(here, dict):
        raise InvalidInputError(f"--set {change!r}: {'.'.join(way)} holds no keys")
    # Who types a path means it from where they are, not from where the recipe lies.
    if last == "path":
        value = os.path.abspath(str(value))
    elif last == "styles" and isinstance(value, list):
        value = [os.path.abspath(str(entry)) for entry in value]
    here[last] = value


def _enter(here: Any, step: str, key: str) -> Any:
    if isinstance(here, list):
        names = [str(entry.get("name") or entry.get("stage")) for entry in here if isinstance(entry, dict)]
        if step in names:
            return here[names.index(step)]
        if step.isdigit() and int(step) < len(here):
            return here[int(step)]
        raise unknown_name(f"entry in --set {key}:", step, names)
    if isinstance(here, dict):
        return here.setdefault(step, {})
    raise InvalidInputError(f"--set {key}: {step!r} holds no keys")


def _explain(error: ValidationError) -> str:
    """The first problem of a recipe in one line."""
    problem = error.errors()[0]
    where = ".".join(str(step) for step in problem["loc"]) or "recipe"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        close = difflib.get_close_matches(key, _all_keys(), n=1)
        nearest = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {where!r}.{nearest}{more}"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}{more}"


def _all_keys() -> list[str]:
    models = (Recipe, ModelSpec, WorldSpec, FilesSpec, MixSpec, StageSpec, SampleSpec)
    return sorted({key for model in models for key in model.model_fields} - {"folder"})
