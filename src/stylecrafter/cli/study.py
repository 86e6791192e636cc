"""`stylecrafter study`: carry out one of the paper's experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylecrafter.cli import options
from stylecrafter.cli.console import show
from stylecrafter.studies.names import Study


def study(
    name: Annotated[Study, typer.Argument(help="Which.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, plots and numbers.")],
    model: options.Model = "mini",
    seed: Annotated[int, typer.Option("--seed", help="Decides styles, prompts and noise.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="At toy size, to see whether it runs.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value in the study's settings, e.g. steps=20 or dtype=bfloat16. Repeatable."
        ),
    ] = None,
) -> None:
    """Carry out an experiment on StyleWorld: tables in tables.md, plots as svg, every number in study.json."""
    from stylecrafter.studies.run_study import run_study

    show(str(run_study(name, output, model=model, seed=seed, quick=quick, changes=changes or [])))
