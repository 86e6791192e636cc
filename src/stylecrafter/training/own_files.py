"""Recipes that come along and learn from files of the user's own: where these are has to be said."""

from __future__ import annotations

import os

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.recipe_files import recipe_folder
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.source_specs import FilesSpec


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
    used = {name for stage in stages for name in (stage.pictures, stage.clips) if name is not None}
    members = sorted({member for name in used for member in recipe.members_of(name)})
    unnamed = []
    for name in members:
        spec = recipe.data[name]
        if isinstance(spec, FilesSpec) and not os.path.isabs(spec.path):
            if not os.path.exists(os.path.join(recipe.folder, spec.path)):
                unnamed.append(f"--set data.{name}.path=FOLDER")
    if unnamed:
        raise InvalidInputError(
            f"the recipe {recipe.name!r} learns from files of your own: add {' '.join(unnamed)} (a folder, a .csv, a "
            ".jsonl or a .tar; `stylecrafter data check FOLDER` tells what of it would be used)"
        )
