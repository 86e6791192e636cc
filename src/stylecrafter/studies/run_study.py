"""Carry a study out by its name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.runtime.devices import check_dtype_name
from stylecrafter.runtime.faults import faults_of, joined
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
from stylecrafter.studies.result import StudySpec, write_result
from stylecrafter.training.recipe_files import split_change
from stylecrafter.training.recipe_keys import read_value, single_kinds

Spec = TypeVar("Spec", bound=StudySpec)

#: Every one has `run`, and `QUICK`: its settings at toy size, of the class of its settings.
_MODULES: dict[Study, Any] = {
    Study.FIRST: first_experiments,
    Study.ARTEFACTS: artefacts,
    Study.SCALES: scales,
    Study.BASELINES: baselines,
    Study.VARIANTS: variants,
    Study.PAIRS: pairs,
    Study.OWN_PICTURES: own_pictures,
}
#: Those that keep clips or models in a folder.
_KEEPING = (Study.BASELINES, Study.VARIANTS, Study.OWN_PICTURES)


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
        quick: At toy size: everything runs, and the scores mean nothing.
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
    study = _MODULES[name]
    spec = changed(study.QUICK if quick else type(study.QUICK)(), changes)
    place = (Path(folder) / "work",) if name in _KEEPING else ()
    return write_result(study.run(model, *place, spec, seed=seed), folder)


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
        raise InvalidInputError(f"of the study's settings, {joined(faults_of(error, values))}") from error
    check_dtype_name(made.dtype)
    return made
