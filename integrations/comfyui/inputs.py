"""Inputs that several nodes have, as ComfyUI wants them declared."""

from __future__ import annotations

from typing import Any

from .arguments import MODELS_OWN
from .sources import MODEL, STYLE

SCHEDULERS = [
    "ddim",
    "dpm++",
    "dpm++sde",
    "dpm++2s",
    "dpm++karras",
    "euler",
    "euler-trailing",
    "euler-a",
    "heun",
    "unipc",
    "deis",
    "ddpm",
    "ddim-trailing",
    "lcm",
    "tcd",
]
PREFIX = "stylecrafter/clip"


def sources() -> dict[str, Any]:
    return {"model": (MODEL,), "style": (STYLE,)}


def seed() -> tuple[str, dict[str, Any]]:
    # Up to what a page in JavaScript holds exactly.
    return ("INT", {"default": 0, "min": 0, "max": 2**53 - 1, "control_after_generate": True})


def knobs() -> dict[str, Any]:
    """Inputs of sampling that may be left to the model."""
    own = "0: the model's own."

    def text(help: str) -> tuple[str, dict[str, Any]]:
        return ("STRING", {"default": "", "tooltip": f"{help} Empty: the model's own.", "advanced": True})

    def count(help: str, most: int) -> tuple[str, dict[str, Any]]:
        return ("INT", {"default": 0, "min": 0, "max": most, "tooltip": f"{help} {own}", "advanced": True})

    return {
        "steps": ("INT", {"default": 0, "min": 0, "max": 999, "tooltip": own}),
        "width": ("INT", {"default": 0, "min": 0, "max": 16384, "tooltip": own}),
        "height": ("INT", {"default": 0, "min": 0, "max": 16384, "tooltip": own}),
        "negative": ("STRING", {"default": "", "multiline": True, "tooltip": "What not to show."}),
        "strength": ([MODELS_OWN, "light", "medium", "strong"], {"default": MODELS_OWN}),
        "style_scale": text("Strength of the style as a number, instead of a word; 0 leaves it out."),
        "text_guidance": text("Weight of the prompt."),
        "style_guidance": text("Weight of the style pictures."),
        "scheduler": ([MODELS_OWN, *SCHEDULERS], {"default": MODELS_OWN}),
        "guidance_stop": text("Part of the steps that are guided, 0 to 1."),
        "shared_noise": text("Part of the noise that all frames share, 0 to 1."),
        "window": text("Frames that the model sees at once, of longer clips; 0: all."),
        "style_corners": ([MODELS_OWN, "on", "off"], {"default": MODELS_OWN, "advanced": True}),
        "filename_prefix": ("STRING", {"default": PREFIX}),
        # Behind all others: pages that were saved before have their values by their places.
        "style_layers": text("Strength of the style by layers, such as down=0.5,mid=1,up=1."),
        "style_frames": text("Strength of the style over the clip, such as 0:0,1:1."),
        "style_steps": text("Strength of the style over the steps, such as window(0.3,1)."),
        "negative_style_scale": text("Strength of a negative style; without one it does nothing."),
        "fast": (
            "BOOLEAN",
            {"default": False, "tooltip": "Fewer and cheaper passes, at a loss that was measured."},
        ),
        "guidance_start": text("Part of the steps before guidance begins, 0 to 1."),
        "guidance_every": count("Steps for which what guidance adds is used, once computed.", 999),
        "reuse_every": count("Steps for which deep features of a UNet are used, once computed.", 999),
        "reuse_depth": count("Fine levels of the UNet that are computed at every step all the same.", 16),
        "skip_threshold": text(
            "Change of a transformer's first block below which a step skips the others; 0: none."
        ),
    }


def length() -> dict[str, Any]:
    return {
        "frames": (
            "INT",
            {"default": 0, "min": 0, "max": 10000, "tooltip": "1: a picture. 0: the model's own."},
        ),
        "fps": (
            "FLOAT",
            {"default": 0.0, "min": 0.0, "max": 240.0, "step": 0.5, "tooltip": "0: the model's own."},
        ),
    }


def prompt(tooltip: str) -> tuple[str, dict[str, Any]]:
    return ("STRING", {"default": "", "multiline": True, "tooltip": tooltip})
