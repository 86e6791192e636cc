"""Carry a study out by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import assert_never

from stylecrafter.evaluation.studies import artefacts
from stylecrafter.evaluation.studies.choices import Study
from stylecrafter.evaluation.studies.result import StudyResult, write_result


def run_study(name: Study, folder: str | os.PathLike[str], *, seed: int = 0, quick: bool = False) -> Path:
    """Carry a study out and write what it found.

    Args:
        name: Which.
        folder: Of the tables, plots and numbers.
        seed: Decides styles, prompts and noise.
        quick: At toy size: everything runs, and the figures mean nothing.

    Returns:
        The path of the tables.

    Raises:
        MissingDependencyError: An optional package is not installed.
        OutputError: The folder cannot be written.
    """
    return write_result(_carry_out(name, seed, quick), folder)


def _carry_out(name: Study, seed: int, quick: bool) -> StudyResult:
    if name is Study.ARTEFACTS:
        if quick:
            return artefacts.run(artefacts.QUICK, seed=seed)
        return artefacts.run(seed=seed)
    assert_never(name)
