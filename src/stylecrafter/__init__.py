"""StyleCrafter: videos and pictures in the style of a reference picture."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stylecrafter.runtime.environment import decline_telemetry

__version__ = "0.1.0"

__all__ = [
    "ShortcutAutoencoder",
    "StyleAdapter",
    "StyleCrafterImagePipeline",
    "StyleCrafterPipeline",
    "VideoCrafterUNet",
    "__version__",
]

if TYPE_CHECKING:
    from stylecrafter.adapter.style_adapter import StyleAdapter
    from stylecrafter.backbones.autoencoder import ShortcutAutoencoder
    from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
    from stylecrafter.pipelines.stylized_image import StyleCrafterImagePipeline
    from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline

# Public name -> module that defines it; resolved on first use, so that importing the package stays free.
_LAZY = {
    "StyleAdapter": "stylecrafter.adapter.style_adapter",
    "ShortcutAutoencoder": "stylecrafter.backbones.autoencoder",
    "VideoCrafterUNet": "stylecrafter.backbones.videocrafter_unet",
    "StyleCrafterPipeline": "stylecrafter.pipelines.stylized_video",
    "StyleCrafterImagePipeline": "stylecrafter.pipelines.stylized_image",
    # diffusers looks for the base mixin in the namespace that a saved component names ("stylecrafter"),
    # so it has to be found here for `from_pretrained` to work.
    "ModelMixin": "diffusers",
}

# Here and not where the libraries are imported: every way to them leads through this file.
decline_telemetry()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
