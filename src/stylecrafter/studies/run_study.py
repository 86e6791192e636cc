"""Carry a study out by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TypeVar, assert_never, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.runtime.devices import check_dtype_name
from stylecrafter.studies import (
    artefacts,
    baselines,
    first_experiments,
    own_pictures,
    pairs,
    scales,
    variants,
)
from stylecrafter.studies.names import Study
from stylecrafter.studies.result import StudyResult, write_result
from stylecrafter.training.recipe_files import split_change
from stylecrafter.training.recipe_keys import read_value, single_kinds

Spec = TypeVar(
    "Spec",
    artefacts.ArtefactSpec,
    baselines.BaselinesSpec,
    first_experiments.FirstSpec,
    own_pictures.OwnPicturesSpec,
    pairs.PairsSpec,
    scales.ScalesSpec,
    variants.VariantsSpec,
)


def run_study(
    name: Study,
    folder: str | os.PathLike[str],
    *,
    model: str = "mini",
    seed: int = 0,
    quick: bool = False,
    changes: Sequence[str] = (),
) -> Path:
    """Carry a study out and write what it found.

    Args:
        name: Which.
        folder: Of the tables, plots and numbers; what a stopped study made is in `work` and is used again.
        model: Embedded name, folder or hub id, for the studies that look at one.
        seed: Decides styles, prompts and noise.
        quick: At toy size: everything runs, and the figures mean nothing.
        changes: "key=value" for the study's own settings (`ScalesSpec` and its like), in place of its own.

    Returns:
        The path of the tables.

    Raises:
        InvalidInputError: There is no such model, it lacks what the study looks at, or a setting does not fit.
        UnknownNameError: The study has no such setting.
        CheckpointError: The model cannot be loaded.
        MissingDependencyError: An optional package is not installed.
        OutputError: The folder cannot be written.
    """
    return write_result(_carry_out(name, Path(folder), model, seed, quick, changes), folder)


def _carry_out(
    name: Study, folder: Path, model: str, seed: int, quick: bool, changes: Sequence[str]
) -> StudyResult:
    match name:
        case Study.ARTEFACTS:
            asked = artefacts.QUICK if quick else artefacts.ArtefactSpec()
            return artefacts.run(model, changed(asked, changes), seed=seed)
        case Study.SCALES:
            return scales.run(
                model, changed(scales.QUICK if quick else scales.ScalesSpec(), changes), seed=seed
            )
        case Study.FIRST:
            return first_experiments.run(
                model,
                changed(first_experiments.QUICK if quick else first_experiments.FirstSpec(), changes),
                seed=seed,
            )
        case Study.PAIRS:
            return pairs.run(model, changed(pairs.QUICK if quick else pairs.PairsSpec(), changes), seed=seed)
        case Study.BASELINES:
            methods = changed(baselines.QUICK if quick else baselines.BaselinesSpec(), changes)
            return baselines.run(model, folder / "work", methods, seed=seed)
        case Study.VARIANTS:
            ways = changed(variants.QUICK if quick else variants.VariantsSpec(), changes)
            return variants.run(model, folder / "work", ways, seed=seed)
        case Study.OWN_PICTURES:
            own = changed(own_pictures.QUICK if quick else own_pictures.OwnPicturesSpec(), changes)
            return own_pictures.run(model, folder / "work", own, seed=seed)
        case _:
            assert_never(name)


def changed(spec: Spec, changes: Sequence[str]) -> Spec:
    """A study's settings with "key=value" changes: text as it is typed, other values as YAML ("sweep=[0, 1]").

    Raises:
        InvalidInputError: A change is not of that form, or its value is of the wrong kind.
        UnknownNameError: There is no such setting.
    """
    values, kinds = asdict(spec), get_type_hints(type(spec))
    for change in changes:
        key, text = split_change(change)
        if key not in values:
            raise unknown_name("setting of the study", key, [field.name for field in fields(spec)])
        values[key] = read_value(text, single_kinds(kinds[key]), f"--set {key}: {text!r}")
    try:
        made: Spec = TypeAdapter(type(spec)).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = problem["loc"][0]
        raise InvalidInputError(
            f"setting {where!r} of the study cannot be {values[str(where)]!r}: {problem['msg']}"
        ) from error
    check_dtype_name(made.dtype)
    return made
