"""`stylecrafter train`: carry out a recipe."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import say, show
from stylecrafter.errors import InvalidInputError


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Name of a recipe that comes along, or path of a .yaml file. With --resume: the run's own by default.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the run.", show_default=False)],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value in the recipe, e.g. stages.adapter.train.steps=100. Repeatable."
        ),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="A training strategy of the paper instead of the recipe's own.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Stop after this stage, and leave the model as it is then in model_STAGE."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    device: options.Device = "auto",
) -> None:
    """Train a model or an adapter by a recipe.

    Stop it at any time (Ctrl-C, SIGTERM, a dropped connection, even SIGKILL): `stylecrafter train -o FOLDER --resume`
    goes on as if it had never stopped. Under torchrun or accelerate launch several processes share each batch.
    """
    import torch

    from stylecrafter.cli.progress import training_progress
    from stylecrafter.runtime.devices import resolve_device
    from stylecrafter.runtime.ranks import is_main_process
    from stylecrafter.training.processes import leave_group
    from stylecrafter.training.recipe_files import load_recipe, recipe_names, refuse_unnamed_files
    from stylecrafter.training.recipe_run import RecipeRun
    from stylecrafter.training.strategies import find_strategy

    if recipe is None and (strategy is not None or not resume):
        raise InvalidInputError(
            "name a recipe; only --resume finds it in the folder of the run, with its strategy. "
            f"Recipes that come along: {', '.join(recipe_names())}"
        )
    loaded = load_recipe(_recorded(output) if recipe is None else recipe, changes)
    if strategy is not None:
        loaded = loaded.with_strategy(find_strategy(strategy))
    refuse_unnamed_files(loaded, until)
    chosen = resolve_device(device)
    if chosen.type == "cuda":
        # Before anything is built: what names no device of its own, as graphs and exchanges do, takes the current one.
        torch.cuda.set_device(chosen)
    with training_progress() as on_step:
        run = RecipeRun(loaded, output, chosen)
        finished = run.run(resume=resume, until=until, on_step=on_step)
    leave_group()
    if finished:
        if is_main_process():
            show(str(run.exported_to(until)))
    else:
        last = "" if until is None else f" --until {until}"
        if is_main_process():
            say(f"stopped; go on with: stylecrafter train -o {shlex.quote(str(output))} --resume{last}")
        raise typer.Exit(128 + (run.stopped_by or signal.SIGTERM))


def _recorded(folder: Path) -> Path:
    """The recipe that a run was begun with.

    Raises:
        InvalidInputError: There is none, or one that cannot be read.
    """
    from stylecrafter.media.documents import read_yaml
    from stylecrafter.training.recipe_files import recorded_recipe

    path = recorded_recipe(folder)
    try:
        whole = isinstance(read_yaml(path), dict)
    except InvalidInputError:
        whole = False
    if not whole:
        raise InvalidInputError(
            f"{path} is damaged: name the recipe that the run was begun with, as in "
            f"stylecrafter train RECIPE -o {shlex.quote(str(folder))} --resume"
        )
    return path
