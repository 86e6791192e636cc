"""Where a recipe's models come from."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from stylecrafter.errors import unknown_name
from stylecrafter.presets import preset_names
from stylecrafter.runtime.faults import Fault, FaultsError
from stylecrafter.training.settings import Named, Settings


class ModelSpec(Settings):
    """Where the models come from: a folder or name to start from, or sizes to train from nothing."""

    pretrained: Named | None = None
    preset: Named | None = None
    warm_start: Named | None = None
    """With `preset`: a name, folder or hub id whose weights every stage begins with where they fit
    (`from_scratch.warm_start`)."""
    new_adapter: bool = False
    """With `pretrained`: begin a fresh adapter instead of going on with the one that is there."""
    attention_levels: tuple[bool, ...] | None = None
    """With `pretrained`: have attention at these resolutions of the UNet too, from fine to coarse
    (`from_scratch.expansion`); what is new adds nothing until it has learned something."""

    @field_validator("preset")
    @classmethod
    def _preset_is_known(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in preset_names():
            raise unknown_name("preset", preset, preset_names())
        return preset

    @model_validator(mode="after")
    def _one_of_both(self) -> ModelSpec:
        faults = []
        if (self.pretrained is None) == (self.preset is None):
            faults.append(
                "give either 'pretrained' (a name, folder or hub id) or 'preset' (sizes to start from)"
            )
        if self.warm_start is not None and self.preset is None:
            faults.append("'warm_start' goes with 'preset'; 'pretrained' goes on with a model as it is")
        if self.attention_levels is not None and self.pretrained is None:
            faults.append("'attention_levels' goes with 'pretrained'; a preset says where its attention is")
        if faults:
            raise FaultsError([Fault((), fault) for fault in faults])
        return self
