"""What a clip says of itself: everything that decides what it looks like."""

from __future__ import annotations

import json
import os
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.models import PART_OPTIONS
from stylecrafter.generation.source_video import VideoReference
from stylecrafter.media.documents import parse_json, shown
from stylecrafter.media.metadata import read_metadata
from stylecrafter.pipelines.knobs import SettingsError, knob
from stylecrafter.pipelines.sampling_params import SamplingParams


class StyleReference(BaseModel):
    """One style picture or saved style: enough to find it again and to see whether it is still the same."""

    name: str
    sha256: str
    weight: FiniteFloat = Field(default=1.0, ge=0)
    path: str | None = Field(default=None, description="as seen from the folder of the output where possible")
    at: FiniteFloat | None = Field(
        default=None, ge=0, le=1, description="part of the clip, of styles in a row"
    )

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As earlier versions wrote it, where the style is that of the whole clip."""
        return {name: value for name, value in write(self).items() if name != "at" or value is not None}


class PartReference(BaseModel):
    """Something that stood beside the model, such as an adapter of its own."""

    name: str
    sha256: str


class ModelReference(BaseModel):
    """The weights that were used."""

    name: str
    sha256: str | None = None
    settings_sha256: str | None = Field(default=None, description="of its configs, scheduler and tokenizer")
    adapter: PartReference | None = None
    image_encoder: PartReference | None = None
    motion_adapter: PartReference | None = None
    base_config: PartReference | None = None

    @property
    def parts(self) -> dict[str, PartReference]:
        """What stood beside the model, by the names of `models.PART_OPTIONS`."""
        found = {name: getattr(self, name) for name in PART_OPTIONS}
        return {name: part for name, part in found.items() if part is not None}

    @model_serializer(mode="wrap")
    def _as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As earlier versions wrote it, where nothing stood beside the model."""
        return {name: value for name, value in write(self).items() if name not in PART_OPTIONS or value}


class GenerationRecord(SamplingParams):
    """Every knob with its value, and what it worked on. Holds no date, so that equal work gives equal files.

    What no version could have written (no frames, sides without end, numbers that are none) is refused. A knob that
    is younger than the file has the value that says nothing (`Knob.without`).
    """

    # A record of a later version may know more than this one; what it does not know it passes on.
    model_config = ConfigDict(extra="allow", protected_namespaces=())

    format: int = 1
    kind: Literal["video", "image"]
    prompt: str
    styles: list[StyleReference] = []
    video: VideoReference | None = None
    style_masks: list[StyleReference] = []
    negative_styles: list[StyleReference] = []
    scheduler: str = knob("Its short name, or the class of the one that the model came with.", default=...)
    device: str
    dtype: str
    model: ModelReference
    versions: dict[str, str] = {}

    @property
    def without_loss(self) -> bool:
        """Whether the file keeps every pixel as it was; said by those alone that were asked to."""
        return (self.model_extra or {}).get("lossless") is True

    @property
    def memory(self) -> dict[str, Any]:
        """What saved memory and may have changed a result (`MemoryOptions.recorded`); nothing where none was asked."""
        names = ("low_memory", "weights_as")
        return {name: value for name, value in (self.model_extra or {}).items() if name in names}

    @model_validator(mode="before")
    @classmethod
    def _younger_knobs(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: knob.without for name, knob in cls.knobs().items() if knob.without is not None} | values

    @model_validator(mode="after")
    def _all_said(self) -> Self:
        for name, value in self.values().items():
            said = self.knobs()[name].unless
            if value is None and not (said and getattr(self, said)):
                raise InvalidInputError(f"{name} is missing.")
        return self

    def to_json(self) -> str:
        """One line of json."""
        return json.dumps(self.model_dump(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of `to_json`.

        Raises:
            InvalidInputError: Not a record.
        """
        return cls.from_values(parse_json(text, "the settings"))

    @classmethod
    def from_values(cls, values: Any) -> Self:
        """From what json holds.

        Raises:
            InvalidInputError: Not a record, or numbers that no clip could have been made with.
        """
        if not isinstance(values, dict):
            raise InvalidInputError(f"these are no StyleCrafter settings, but a {type(values).__name__}.")
        try:
            return cls(**values)
        except InvalidInputError as error:
            few = SettingsError(error.problems[:3]) if isinstance(error, SettingsError) else error
            raise InvalidInputError(f"these are no StyleCrafter settings: {few}") from error


def read_record(path: str | os.PathLike[str]) -> GenerationRecord:
    """The settings that made the file.

    Raises:
        ImageReadError: The file cannot be read.
        InvalidInputError: It holds no settings, or some that cannot be.
    """
    found = read_metadata(path)
    if found is None:
        raise InvalidInputError(
            f"{shown(path)} holds no StyleCrafter settings: "
            "it was written without them, or by another program."
        )
    return GenerationRecord.from_values(found)
