"""A model that a study trains, and trains once."""

from __future__ import annotations

from pathlib import Path

from stylecrafter.errors import OutputError
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.training.recipes import Recipe


def trained_model(recipe: Recipe, folder: Path) -> Path:
    """The model that the recipe leaves in the folder, trained where it is not there yet.

    Raises:
        OutputError: The folder holds the run of another recipe, or cannot be written.
    """
    run = RecipeRun(recipe, folder)
    if run.holds_another():
        raise OutputError(
            f"{run.folder} was trained with other settings than this study asks for: "
            "name a new folder for the study, or delete that one."
        )
    if not run.exported_to().is_dir() and not run.run(resume=True):
        raise KeyboardInterrupt  # a signal came; the run can be gone on with
    return run.exported_to()
