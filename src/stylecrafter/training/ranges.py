"""The ranges that numbers of a recipe lie in, as types; and configurations that keep to them however they are made."""

from __future__ import annotations

import functools
from typing import Annotated, Any, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from stylecrafter.pipelines.sampling_params import MAX_FRAMES, MAX_SIDE, MAX_STEPS
from stylecrafter.runtime.seeding import MAX_SEED
from stylecrafter.training.faults import Fault, FaultsError, faults_of


def _no_flag(value: object) -> object:
    """A true or false is a number for Python, and a slip in a recipe."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


_Whole = Annotated[int, BeforeValidator(_no_flag)]
_Real = Annotated[float, BeforeValidator(_no_flag)]

#: Steps, or things that are counted by steps.
Steps = Annotated[_Whole, Field(ge=1, le=10**9)]
#: The same, none of them included.
StepsOrNone = Annotated[_Whole, Field(ge=0, le=10**9)]
#: Steps of sampling.
SamplingSteps = Annotated[_Whole, Field(ge=1, le=MAX_STEPS)]
#: Of rows, parts, groups: what a machine holds at once.
Count = Annotated[_Whole, Field(ge=1, le=2**20)]
#: Frames of a clip.
Frames = Annotated[_Whole, Field(ge=1, le=MAX_FRAMES)]
#: Height or width in pixels.
Side = Annotated[_Whole, Field(ge=8, le=MAX_SIDE)]
#: A part of something.
Ratio = Annotated[_Real, Field(ge=0, le=1, allow_inf_nan=False)]
#: A factor that may be left out as 0.
Weight = Annotated[_Real, Field(ge=0, allow_inf_nan=False)]
#: A factor that may not.
Positive = Annotated[_Real, Field(gt=0, allow_inf_nan=False)]
#: The same, or infinity for no limit at all.
Limit = Annotated[_Real, Field(gt=0)]
#: How much of the past an average keeps.
Decay = Annotated[_Real, Field(ge=0, lt=1, allow_inf_nan=False)]
#: A seed of random numbers.
Seed = Annotated[_Whole, Field(ge=0, le=MAX_SEED)]
#: A seed that is mixed with the number of a step, which takes any whole number.
AnySeed = _Whole


def check_fields(config: Any) -> None:
    """Refuse a dataclass whose fields are outside what their types say; for `__post_init__`.

    Raises:
        InvalidInputError: Every field that is.
    """
    faults: list[Fault] = []
    for name, adapter in _adapters(config.__class__).items():
        try:
            adapter.validate_python(getattr(config, name), strict=True)
        except ValidationError as error:
            faults += faults_of(error, lambda _: (), (name,))
    if faults:
        raise FaultsError(faults)


@functools.cache
def _adapters(kind: type) -> dict[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
