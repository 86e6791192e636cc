"""Where a recipe's models come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from stylecrafter.errors import unknown_name
from stylecrafter.presets import preset_names
from stylecrafter.runtime.faults import Fault, FaultsError
from stylecrafter.training.settings import Named, Settings


class ModelSpec(Settings):
    """Where the models come from: a model or a base to start from, or sizes to train from nothing."""

    pretrained: Named | None = None
    """A whole model: an embedded name, a folder or a hub id."""
    base: Named | None = None
    """A base model in the diffusers layout: a folder, a hub id or a single file
    (`StyleCrafterPipeline.from_base`)."""
    base_config: Named | None = None
    """With a `base` that is a single file: folder or hub id of a model whose configs, tokenizers and scheduler it
    shares; default: the hub's own for such a file."""
    preset: Named | None = None
    """Sizes to train from nothing."""
    image_encoder: Named | None = None
    """With `base` or `pretrained`: the CLIP image tower that reads style references, a folder or a hub id; default: the
    model's own."""
    adapter: Named | None = None
    """With `base` or `pretrained`: go on with this adapter, a folder, a hub id or any published file
    (`pipelines.adapters.load_adapter`)."""
    motion_adapter: Named | None = None
    """With a `base` that makes images: motion modules for it, a folder, a hub id or a file (AnimateDiff)."""
    text_encoder_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the text encoders, which stay as they are with `base` or `pretrained`: half the memory in bfloat16."""
    warm_start: Named | None = None
    """With `preset`: a name, folder or hub id whose weights every stage begins with where they fit
    (`from_scratch.warm_start`)."""
    new_adapter: bool = False
    """With `pretrained`: begin a fresh adapter instead of going on with the one that is there."""
    attention_levels: tuple[bool, ...] | None = None
    """With `pretrained`: have attention at these resolutions of the UNet too, from fine to coarse
    (`from_scratch.expansion`); what is new adds nothing until it has learned something."""

    @property
    def source(self) -> str | None:
        """The model that is there already; None where all is trained from nothing."""
        return self.base or self.pretrained

    def is_adapter_fresh(self, options: Mapping[str, Any]) -> bool:
        """Whether the adapter is made anew, where a recipe has these options for one."""
        if self.adapter is not None:
            return False
        return self.new_adapter or self.base is not None or self.preset is not None or bool(options)

    @field_validator("preset")
    @classmethod
    def _preset_is_known(cls, preset: str | None) -> str | None:
        if preset is not None and preset not in preset_names():
            raise unknown_name("preset", preset, preset_names())
        return preset

    @model_validator(mode="after")
    def _one_of_both(self) -> ModelSpec:
        given = [key for key in ("pretrained", "base", "preset") if getattr(self, key) is not None]
        faults = []
        if len(given) != 1:
            faults.append(
                "give one of 'pretrained' (a name, folder or hub id), 'base' (a base model as diffusers has it) and "
                "'preset' (sizes to start from)"
                + (f", not {' and '.join(given)}: --set model.{given[0]}= leaves one out" if given else "")
            )
        if self.warm_start is not None and self.preset is None:
            faults.append("'warm_start' goes with 'preset'; 'pretrained' goes on with a model as it is")
        if self.attention_levels is not None and self.pretrained is None:
            faults.append("'attention_levels' goes with 'pretrained'; a preset says where its attention is")
        for key in ("motion_adapter", "base_config"):
            if getattr(self, key) is not None and self.base is None:
                faults.append(f"'{key}' goes with 'base'; a whole model has all that it needs")
        if self.preset is not None:
            others = ("image_encoder", "adapter")
            faults += [
                f"'{key}' goes with 'base' or 'pretrained'; a preset makes its own"
                for key in others
                if getattr(self, key)
            ]
            if self.text_encoder_dtype != "float32":
                faults.append(
                    "'text_encoder_dtype' goes with 'base' or 'pretrained'; a preset trains its own"
                )
        if self.adapter is not None and self.new_adapter:
            faults.append("give 'adapter' to go on with one, or 'new_adapter' for a fresh one, not both")
        if faults:
            raise FaultsError([Fault((), fault) for fault in faults])
        return self
