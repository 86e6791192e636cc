"""What a pipeline can be told so that it needs less memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.offloading import (
    has_group_offload,
    let_others_leave,
    offload_layers,
    remove_group_offload,
    restore_tiles,
    set_tiles,
)
from stylecrafter.pipelines.stored_weights import store_weights

#: Sides of frames in pixels up to which an autoencoder takes them whole with low memory.
TILE = 512


class MemorySaving:
    """Mixin of pipelines, before `DiffusionPipeline`, some of whose methods it goes on from."""

    _low_memory = False
    _weights_as = "full"
    _tiles: dict[str, Any] | None = None
    _group_offload: dict[str, Any] | None = None

    @property
    def low_memory(self) -> bool:
        """Whether calls run with low memory, see `enable_low_memory`."""
        return self._low_memory

    @property
    def weights_as(self) -> str:
        """How weights are kept, see `store_weights`."""
        return self._weights_as

    def enable_low_memory(self, device: str | torch.device | None = None, *, offload: bool = True) -> None:
        """Have calls take less memory and more time.

        Passes of the model run one by one (`sequential_guidance`), frames are decoded and encoded one by one, in tiles
        that overlap where sides are above `TILE`; and on a GPU one model is there at a time, the others wait in the
        machine's memory (`enable_model_cpu_offload`). Frames are those of other calls up to rounding, tiled ones up to
        slight differences along the seams. On a CPU there is no other memory for weights to wait in: they stay.

        Args:
            device: Where calls compute; None: where the pipeline is.
            offload: False leaves the weights where they are.
        """
        pipe = cast(Any, self)
        place = pipe._execution_device if device is None else torch.device(device)
        self._low_memory = True
        if self._tiles is None and pipe.vae is not None:
            self._tiles = set_tiles(pipe.vae, TILE)
        if offload and place.type != "cpu" and not self.offloaded:
            self.enable_model_cpu_offload(device=place)

    def disable_low_memory(self) -> None:
        """The reverse of `enable_low_memory`; all weights are where calls compute again."""
        pipe = cast(Any, self)
        self._low_memory = False
        if self._tiles is not None:
            restore_tiles(pipe.vae, self._tiles)
            self._tiles = None
        if self.offloaded:
            self.disable_offload()

    @property
    def offloaded(self) -> bool:
        """Whether weights leave the device while they are not needed."""
        return bool(getattr(self, "_all_hooks", ())) or self._group_offload is not None

    def enable_model_cpu_offload(
        self, gpu_id: int | None = None, device: str | torch.device | None = None
    ) -> None:
        """Keep one model at a time on the device, as `DiffusionPipeline` does; the adapter, which runs inside the
        denoiser, stays there. Results are the same to the bit.
        """
        pipe = cast(Any, self)
        super().enable_model_cpu_offload(gpu_id, device)  # type: ignore[misc]
        let_others_leave(pipe._all_hooks, (pipe.backbone.denoiser, pipe.controlnet))

    def enable_group_offload(
        self,
        onload_device: str | torch.device,
        offload_device: str | torch.device = "cpu",
        offload_type: str = "leaf_level",
        *,
        exclude_modules: str | Sequence[str] = (),
        offload_to_disk_path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        """Keep one layer at a time on the device, as `DiffusionPipeline` does, which has "block_level" where nothing is
        said; the adapter stays there. Slower than `enable_model_cpu_offload` and with far less memory; results are the
        same to the bit.

        Args:
            onload_device: Where layers compute.
            offload_device: Where they wait.
            offload_type: "leaf_level", or "block_level" for base models of diffusers.
            exclude_modules: Components that stay on the device beside the adapter.
            offload_to_disk_path: A folder in which they wait instead, new or of this very pipeline.
            **options: See `DiffusionPipeline.enable_group_offload`, such as `use_stream=True`, by which a GPU fetches
                the next layer while it computes.

        Raises:
            InvalidInputError: Blocks of a VideoCrafter UNet; or weights that two layers share, on the disk.
        """
        pipe = cast(Any, self)
        if self.offloaded:
            self.disable_offload()
        onload, offload = torch.device(onload_device), torch.device(offload_device)
        kept = {exclude_modules} if isinstance(exclude_modules, str) else set(exclude_modules)
        for name, model in pipe.components.items():
            if not isinstance(model, nn.Module):
                continue
            if name in kept or model is pipe.style_adapter:
                model.to(onload)
                continue
            if offload_to_disk_path is not None:
                # Layers of different models may have the same names.
                options["offload_to_disk_path"] = os.path.join(offload_to_disk_path, name)
            offload_layers(model, onload, offload, offload_type, **options)
        self._group_offload = {"onload_device": onload}

    def disable_offload(self, device: str | torch.device | None = None) -> None:
        """Bring all weights to the device where calls compute, or to another, and leave them there."""
        pipe = cast(Any, self)
        place = pipe._execution_device if device is None else torch.device(device)
        pipe.remove_all_hooks()
        for model in pipe.components.values():
            if isinstance(model, nn.Module) and has_group_offload(model):
                remove_group_offload(model)
        self._group_offload = None
        pipe.to(place)

    def store_weights(self, weights_as: str) -> None:
        """Keep weights in 8 bits, which are widened when they are used; what is rounded so does not come back.

        Norms, embeddings, the first and the last convolution, the autoencoder, and of the adapter the extractor and the
        scale predictor stay as they are. For sampling only: such a pipeline cannot be saved.

        Args:
            weights_as: "fp8" or "int8", see `pipelines.stored_weights`. Before offloading, if both are wanted.

        Raises:
            UnknownNameError: Another name.
            InvalidInputError: "full", or weights that are stored so already, or that leave the device already.
            MissingDependencyError: torchao is not installed.
        """
        pipe = cast(Any, self)
        if self._weights_as != "full":
            raise InvalidInputError(f"the weights are stored as {self._weights_as} already: load them again")
        if self.offloaded:
            raise InvalidInputError("store weights before they are offloaded, not after")
        store_weights(pipe.components, weights_as)
        self._weights_as = weights_as

    def _fetched_again(self) -> None:
        """Place a component that has just come the way all others are."""
        pipe = cast(Any, self)
        if getattr(self, "_all_hooks", ()):
            self.enable_model_cpu_offload(device=pipe._offload_device)
        elif self._group_offload is not None and pipe.style_adapter is not None:
            pipe.style_adapter.to(self._group_offload["onload_device"])
