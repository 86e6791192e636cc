"""The fast mode (`--fast`): knobs that a base model, or a model's own folder, has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.sampling_params import SamplingParams

#: What the fast mode of a model's own is called in its index, and there as an argument of its pipeline.
FAST_NAME = "fast"


def fast_knobs(base: Mapping[str, Any], own: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Knobs of the fast mode: those of a model's own folder, else of its base model (`Backbone.fast`).

    Raises:
        InvalidInputError: One that is no knob of models, or whose value cannot be.
    """
    if own is None:
        return base
    if not isinstance(own, Mapping):
        raise InvalidInputError(f"{FAST_NAME} must be a mapping from knobs to values, got {own!r}")
    known = SamplingParams.knobs()
    for name in own:
        if name in known and not known[name].of_model:
            raise InvalidInputError(
                f"{FAST_NAME} cannot set {name}: models have no value of their own for it"
            )
    SamplingParams(**own)
    return own


def with_fast(asked: SamplingParams, defaults: Mapping[str, Any], fast: Mapping[str, Any]) -> dict[str, Any]:
    """What fills in the knobs that were not said: the defaults, and over them those of the fast mode, if asked for.

    Args:
        asked: Says whether it is.
        defaults: By the names of `model_index.json`.
        fast: From `fast_knobs`. Its steps are the most it takes: a model that needs fewer keeps its own.

    Raises:
        InvalidInputError: It is asked for, and there is none.
    """
    if not asked.fast:
        return dict(defaults)
    if not fast:
        raise InvalidInputError("this model has no fast mode: leave out --fast (fast)")
    values = {f"default_{name}": value for name, value in fast.items()}
    own = defaults.get("default_steps")
    if own is not None and "default_steps" in values:
        values["default_steps"] = min(own, values["default_steps"])
    return {**defaults, **values}


def set_by_fast(asked: SamplingParams, fast: Mapping[str, Any]) -> tuple[str, ...]:
    """The knobs that the fast mode sets: those that were not said."""
    return tuple(name for name in fast if getattr(asked, name) is None) if asked.fast else ()


def knobs_in_words(knobs: Mapping[str, Any]) -> str:
    """ "steps 20, reuse every 2"; the empty text for none."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in knobs.items())
