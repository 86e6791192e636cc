"""Nodes that say what is sampled with: a model, and a style. They run nothing."""

from __future__ import annotations

from typing import Any

from .arguments import read_weights

CATEGORY = "StyleCrafter"
MODEL, STYLE = "STYLECRAFTER_MODEL", "STYLECRAFTER_STYLE"
_WEIGHT = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1000.0, "step": 0.05})
_CHAIN = (STYLE, {"tooltip": "That of another node, to join."})


class StyleCrafterModel:
    """A base model and an adapter, as the command takes them."""

    DESCRIPTION = (
        "A model for StyleCrafter: an embedded name, a folder or a hub id, and a style adapter for it."
    )
    CATEGORY = CATEGORY
    FUNCTION = "choose"
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        where = "A folder, a file or a hub id; empty: what the model comes with."
        return {
            "required": {
                "model": (
                    "STRING",
                    {"default": "mini", "tooltip": "An embedded name, a folder or a hub id."},
                ),
            },
            "optional": {
                "adapter": ("STRING", {"default": "", "tooltip": where}),
                "image_encoder": ("STRING", {"default": "", "tooltip": where}),
                "dtype": (["auto", "float32", "float16", "bfloat16"], {"default": "auto"}),
                "device": ("STRING", {"default": "auto", "tooltip": "auto, cpu, cuda, cuda:1, mps."}),
                "free_memory": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Take ComfyUI's own models off the device before sampling."},
                ),
                "motion_adapter": (
                    "STRING",
                    {"default": "", "tooltip": "AnimateDiff's motion modules for a Stable Diffusion 1.5."},
                ),
                "config": (
                    "STRING",
                    {"default": "", "tooltip": "Of a single file: the folder whose configs it shares."},
                ),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, model: str | None = None) -> bool | str:
        return "name a model, such as mini" if isinstance(model, str) and not model.strip() else True

    def choose(
        self,
        model: str,
        adapter: str = "",
        image_encoder: str = "",
        dtype: str = "auto",
        device: str = "auto",
        free_memory: bool = True,
        motion_adapter: str = "",
        config: str = "",
    ) -> tuple[dict[str, Any]]:
        names = {
            "model": model,
            "adapter": adapter,
            "image_encoder": image_encoder,
            "motion_adapter": motion_adapter,
            "config": config,
        }
        return ({**names, "dtype": dtype, "device": device, "free_memory": free_memory},)


class StyleCrafterStyle:
    """Style pictures; several nodes in a row join pictures of different sizes."""

    DESCRIPTION = "Pictures whose style is taken, each with a weight. Chain nodes by `style` to join more."
    CATEGORY = CATEGORY
    FUNCTION = "collect"
    RETURN_TYPES = (STYLE,)
    RETURN_NAMES = ("style",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "One picture, or a batch of them."}),
                "weight": _WEIGHT,
            },
            "optional": {
                "weights": (
                    "STRING",
                    {"default": "", "tooltip": "For a batch: a number for every picture, such as 2, 1, 0.5."},
                ),
                "style": _CHAIN,
            },
        }

    def collect(
        self, images: Any, weight: float, weights: str = "", style: list[dict[str, Any]] | None = None
    ) -> tuple[list[dict[str, Any]]]:
        one = {"images": images, "weights": read_weights(weights, weight, len(images))}
        return ([*(style or []), one],)


class StyleCrafterSavedStyle:
    """A style of the library, by its name; joined with others like pictures."""

    DESCRIPTION = "A style that `stylecrafter style save` has put into the library."
    CATEGORY = CATEGORY
    FUNCTION = "choose"
    RETURN_TYPES = (STYLE,)
    RETURN_NAMES = ("style",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"name": ("STRING", {"default": "", "tooltip": "See `stylecrafter style list`."})},
            "optional": {"weight": _WEIGHT, "style": _CHAIN},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, name: str | None = None) -> bool | str:
        return "give the name of a saved style" if isinstance(name, str) and not name.strip() else True

    def choose(
        self, name: str, weight: float = 1.0, style: list[dict[str, Any]] | None = None
    ) -> tuple[list[dict[str, Any]]]:
        return ([*(style or []), {"name": name.strip(), "weights": [weight]}],)
