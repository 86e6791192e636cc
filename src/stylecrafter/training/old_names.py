"""Keys of recipes that had other names before: still read, and said once."""

from __future__ import annotations

import functools
import logging
from typing import Any

from stylecrafter.errors import InvalidInputError

logger = logging.getLogger(__name__)

#: Before -> today, in `model`, in a stage, and in its `train` and `options`.
RECIPE_KEYS = {
    "begin_with": "warm_start",
    "stretch_time": "position_interpolation",
    "middle_timesteps": "logit_normal_ratio",
    "rounded_weights": "bf16_compute",
    "record_steps": "cuda_graphs",
    "blend": "weight_interpolation",
}
#: Of checkpoints, likewise.
CHECKPOINT_KEYS = {"average": "ema", "begun_with": "start"}


def todays_key(key: str) -> str:
    """The name that a key of a recipe has today."""
    if key not in RECIPE_KEYS:
        return key
    _say("the key", key, RECIPE_KEYS[key])
    return RECIPE_KEYS[key]


def todays_recipe(recipe: dict[Any, Any]) -> dict[str, Any]:
    """A recipe as YAML gives it, by today's names, all keys text; what is none is left as it is, to be refused.

    Raises:
        InvalidInputError: A key under both of its names.
    """
    recipe = _with_text_keys(recipe)
    if "model" in recipe:
        recipe["model"] = _renamed(recipe["model"])
    if isinstance(recipe.get("stages"), list):
        recipe["stages"] = [_stage(stage) for stage in recipe["stages"]]
    return recipe


def todays_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint by today's names."""
    for key in CHECKPOINT_KEYS.keys() & state.keys():
        _say("the key of checkpoints", key, CHECKPOINT_KEYS[key])
    return {CHECKPOINT_KEYS.get(key, key): value for key, value in state.items()}


def _stage(stage: Any) -> Any:
    if not isinstance(stage, dict):
        return stage
    inner = {part: _renamed(stage[part]) for part in ("train", "options") if part in stage}
    return _renamed({**stage, **inner})


def _renamed(values: Any) -> Any:
    if not isinstance(values, dict) or not RECIPE_KEYS.keys() & values.keys():
        return values
    for old, new in RECIPE_KEYS.items():
        if old in values and new in values:
            raise InvalidInputError(f"{old} and {new} are the same key of a recipe; give {new} alone")
    return {todays_key(key): value for key, value in values.items()}


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return [_with_text_keys(inner) for inner in value] if isinstance(value, list) else value


@functools.cache
def _say(what: str, old: str, new: str) -> None:
    logger.warning("%s %r is called %r today; the old name is read too", what, old, new)
