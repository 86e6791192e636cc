"""The command `stylecrafter`. A command is one function in a file of its own, listed here."""

from __future__ import annotations

from typing import Annotated

import typer

from stylecrafter import __version__
from stylecrafter.cli.batch import batch
from stylecrafter.cli.console import (
    CommandGroup,
    check_working_folder,
    prepare_process,
    quiet_libraries,
    show,
)
from stylecrafter.cli.convert import convert
from stylecrafter.cli.data import data_app
from stylecrafter.cli.doctor import doctor
from stylecrafter.cli.evaluate import evaluate
from stylecrafter.cli.generate import generate
from stylecrafter.cli.inspect import inspect
from stylecrafter.cli.models import models
from stylecrafter.cli.study import study
from stylecrafter.cli.style import style_app
from stylecrafter.cli.train import train

app = typer.Typer(
    name="stylecrafter",
    help="Videos and pictures in the style of a reference picture.",
    cls=CommandGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for command in (generate, batch, evaluate, study, train, convert, models, doctor, inspect):
    app.command()(command)
app.add_typer(data_app)
app.add_typer(style_app)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"stylecrafter {__version__}")
        raise typer.Exit


@app.callback()
def configure(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    check_working_folder()
    quiet_libraries()


def main() -> None:
    """Entry point of the console script."""
    prepare_process()
    app(prog_name="stylecrafter")
