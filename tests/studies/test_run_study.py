from __future__ import annotations

import pytest

from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.evaluation.method_names import Method
from stylecrafter.studies import (
    artefacts,
    baselines,
    first_experiments,
    own_pictures,
    pairs,
    scales,
    variants,
)
from stylecrafter.studies.run_study import changed


def test_settings_are_changed_by_key_and_value() -> None:
    spec = scales.ScalesSpec()
    made = changed(spec, ["sweep=[0.5, 1]", "steps=7", "dtype=bfloat16"])
    assert (made.sweep, made.steps, made.dtype) == ((0.5, 1.0), 7, "bfloat16")
    assert made.references == spec.references and changed(spec, []) == spec
    methods = changed(baselines.BaselinesSpec(), ["of_clips=[ours, text-only]"])
    assert methods.of_clips == (Method.OURS, Method.TEXT_ONLY)


@pytest.mark.parametrize(
    "module", [artefacts, baselines, first_experiments, own_pictures, pairs, scales, variants]
)
def test_every_study_can_be_changed(module: object) -> None:
    quick = module.QUICK  # type: ignore[attr-defined]
    assert changed(quick, ["dtype=float32"]).dtype == "float32"


@pytest.mark.parametrize(
    ("change", "said"),
    [("steps", "key=value"), ("steps=many", "steps must be a whole number, got 'many'"),
     ("steps=[", "not YAML"), ("dtype=float8", "float8")],
)  # fmt: skip
def test_bad_changes_are_refused(change: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said.replace("[", r"\[")):
        changed(first_experiments.FirstSpec(), [change])


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'prompts'"):
        changed(pairs.PairsSpec(), ["promts=3"])


def test_text_is_taken_as_it_is_typed() -> None:
    made = changed(
        own_pictures.QUICK, ["ways=[on, 1e3]", "kinds=2024_01_15", "train_steps=null", "pictures=5"]
    )
    assert (made.ways, made.kinds, made.train_steps, made.pictures) == (
        ("on", "1e3"),
        ("2024_01_15",),
        None,
        5,
    )
