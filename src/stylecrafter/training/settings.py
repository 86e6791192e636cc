"""Parts of a recipe as checked models, and the ranges that their numbers lie in, as types."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from stylecrafter.pipelines.sampling_params import MAX_FRAMES, MAX_SIDE, MAX_STEPS
from stylecrafter.runtime.faults import FaultsError, faults_of
from stylecrafter.runtime.seeding import MAX_SEED


class Settings(BaseModel):
    """A part of a recipe, however it is made: keys that nobody reads, and values out of range, are refused.

    Raises:
        InvalidInputError: With everything that is wrong.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise FaultsError(faults_of(error, self.known_keys())) from error

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys that a recipe may give."""
        return [name for name, field in cls.model_fields.items() if not field.exclude]

    def replace(self, **changes: Any) -> Self:
        """The same with other values, checked like the first ones."""
        return type(self)(**{name: value for name, value in self if name in self.model_fields_set} | changes)


class StageSettings(Settings):
    """Settings of a stage, which are written down as they were given: a seed that was not is the recipe's."""

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


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
#: A path or another text that stands for something: never empty, never longer than a file system takes.
Named = Annotated[str, Field(min_length=1, max_length=4096)]
