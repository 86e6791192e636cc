"""Carry a study out by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import assert_never

from stylecrafter.evaluation.studies import artefacts, baselines, first, pairs, scales, variants
from stylecrafter.evaluation.studies.choices import Study
from stylecrafter.evaluation.studies.result import StudyResult, write_result


def run_study(
    name: Study, folder: str | os.PathLike[str], *, model: str = "mini", seed: int = 0, quick: bool = False
) -> Path:
    """Carry a study out and write what it found.

    Args:
        name: Which.
        folder: Of the tables, plots and numbers; what a stopped study made is in `work` and is used again.
        model: Embedded name, folder or hub id, for the studies that look at one.
        seed: Decides styles, prompts and noise.
        quick: At toy size: everything runs, and the figures mean nothing.

    Returns:
        The path of the tables.

    Raises:
        InvalidInputError: There is no such model, or it lacks what the study looks at.
        CheckpointError: It cannot be loaded.
        MissingDependencyError: An optional package is not installed.
        OutputError: The folder cannot be written.
    """
    return write_result(_carry_out(name, Path(folder), model, seed, quick), folder)


def _carry_out(name: Study, folder: Path, model: str, seed: int, quick: bool) -> StudyResult:
    match name:
        case Study.ARTEFACTS:
            return artefacts.run(model, artefacts.QUICK if quick else artefacts.ArtefactSpec(), seed=seed)
        case Study.SCALES:
            return scales.run(model, scales.QUICK if quick else scales.ScalesSpec(), seed=seed)
        case Study.FIRST:
            return first.run(model, first.QUICK if quick else first.FirstSpec(), seed=seed)
        case Study.PAIRS:
            return pairs.run(model, pairs.QUICK if quick else pairs.PairsSpec(), seed=seed)
        case Study.BASELINES:
            asked = baselines.QUICK if quick else baselines.BaselinesSpec()
            return baselines.run(model, folder / "work", asked, seed=seed)
        case Study.VARIANTS:
            spec = variants.QUICK if quick else variants.VariantsSpec()
            return variants.run(model, folder / "work", spec, seed=seed, mixed_precision=not quick)
        case _:
            assert_never(name)
