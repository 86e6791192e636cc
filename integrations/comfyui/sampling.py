"""Nodes that run the command: one clip, one clip for each of several prompts, a clip from a clip."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import host, inputs
from .arguments import (
    TEXT_NUMBERS,
    check_text_numbers,
    knob_options,
    model_options,
    style_options,
    style_paths,
)
from .command import StyleCrafterError
from .frames import read_clip, save_clip
from .inputs import PREFIX
from .process import ask
from .sources import CATEGORY


class _Sampling:
    """What the nodes that run the command have in common."""

    CATEGORY = CATEGORY
    FUNCTION = "sample"
    OUTPUT_NODE = True

    @classmethod
    def VALIDATE_INPUTS(
        cls,
        style_scale: Any = "",
        negative_style_scale: Any = "",
        text_guidance: Any = "",
        style_guidance: Any = "",
        guidance_stop: Any = "",
        shared_noise: Any = "",
        window: Any = "",
        guidance_start: Any = "",
        skip_threshold: Any = "",
    ) -> bool | str:
        texts = (
            style_scale,
            negative_style_scale,
            text_guidance,
            style_guidance,
            guidance_stop,
            shared_noise,
            window,
            guidance_start,
            skip_threshold,
        )
        return check_text_numbers(dict(zip(TEXT_NUMBERS, texts, strict=True)))


class StyleCrafterSample(_Sampling):
    """One clip or picture of a prompt in a style."""

    DESCRIPTION = "Make a clip (or a picture) of a prompt in a style."
    RETURN_TYPES = ("IMAGE", "FLOAT", "STRING")
    RETURN_NAMES = ("images", "fps", "path")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                **inputs.sources(),
                "prompt": inputs.prompt("What is to be seen."),
                "seed": inputs.seed(),
            },
            "optional": {**inputs.length(), **inputs.knobs()},
        }

    def sample(
        self, model: dict[str, Any], style: list[dict[str, Any]], prompt: str, **knobs: Any
    ) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="stylecrafter-") as folder:
            options = [*style_options(style, Path(folder)), *knob_options(knobs)]
            return _generate(model, prompt, options, knobs)


class StyleCrafterVideoToVideo(_Sampling):
    """A clip made again in a style: from frames, or from a file."""

    DESCRIPTION = "Stylize a clip that there is. Give its frames, or the path of its file."
    RETURN_TYPES = ("IMAGE", "FLOAT", "STRING")
    RETURN_NAMES = ("images", "fps", "path")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                **inputs.sources(),
                "prompt": inputs.prompt("What is to be seen."),
                "denoise": (
                    "FLOAT",
                    {
                        "default": 0.6,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.05,
                        "tooltip": "More: less of the clip.",
                    },
                ),
                "seed": inputs.seed(),
            },
            "optional": {
                "images": ("IMAGE", {"tooltip": "The frames of the clip."}),
                "images_fps": ("FLOAT", {"default": 8.0, "min": 0.01, "max": 240.0, "step": 0.5}),
                "video_path": (
                    "STRING",
                    {"default": "", "tooltip": "Or its file; relative to the input folder."},
                ),
                "start": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 1e6, "tooltip": "Seconds to leave out."},
                ),
                "duration": (
                    "FLOAT",
                    {"default": 0.0, "min": 0.0, "max": 1e6, "tooltip": "Seconds to use; 0: to the end."},
                ),
                "inversion": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "Begin with the clip's own noise (DDIM inversion)."},
                ),
                **inputs.knobs(),
            },
        }

    @classmethod
    def IS_CHANGED(cls, video_path: str | None = "", **others: Any) -> str:
        """A file of the same name may be another by now."""
        path = host.input_path(video_path) if video_path else None
        return f"{path.stat().st_mtime_ns}" if path is not None and path.is_file() else ""

    def sample(
        self,
        model: dict[str, Any],
        style: list[dict[str, Any]],
        prompt: str,
        denoise: float,
        images: Any = None,
        images_fps: float = 8.0,
        video_path: str = "",
        **knobs: Any,
    ) -> dict[str, Any]:
        if (images is None) == (not video_path.strip()):
            raise StyleCrafterError(
                "give the frames of a clip (images) or the path of its file, one of the two."
            )
        with tempfile.TemporaryDirectory(prefix="stylecrafter-") as folder:
            path = host.input_path(video_path.strip())
            if images is not None:
                path = Path(folder, "video.webp")
                save_clip(images, path, images_fps)
            options = [*style_options(style, Path(folder)), *knob_options(knobs)]
            options += ["--video", str(path), "--denoise", f"{denoise:g}"]
            made = _generate(model, prompt, options, knobs)
        if images is not None:
            # The file that they went in counts whole milliseconds, and so its rate is not quite theirs.
            made["result"] = (made["result"][0], float(images_fps), made["result"][2])
        return made


class StyleCrafterPromptList(_Sampling):
    """One clip for each of several prompts, in one style."""

    DESCRIPTION = (
        "Make a clip for every line of a list of prompts, all in one style. The model is loaded once."
    )
    RETURN_TYPES = ("IMAGE", "FLOAT", "STRING")
    RETURN_NAMES = ("images", "fps", "path")
    OUTPUT_IS_LIST = (True, True, True)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        locked = "One look for all: the style is encoded once, and all clips have the same noise."
        return {
            "required": {
                **inputs.sources(),
                "prompts": inputs.prompt("One prompt a line."),
                "seed": inputs.seed(),
                "lock_style": ("BOOLEAN", {"default": True, "tooltip": locked}),
            },
            "optional": {**inputs.length(), **inputs.knobs()},
        }

    def sample(
        self, model: dict[str, Any], style: list[dict[str, Any]], prompts: str, lock_style: bool, **knobs: Any
    ) -> dict[str, Any]:
        lines = [line.strip() for line in prompts.splitlines() if line.strip()]
        if not lines:
            raise StyleCrafterError("give at least one prompt, each on a line of its own.")
        place = host.new_place(knobs.get("filename_prefix", PREFIX))
        with tempfile.TemporaryDirectory(prefix="stylecrafter-") as folder:
            paths = style_paths(style, Path(folder))
            entries = [{"prompt": line, "style_path": paths} for line in lines]
            Path(folder, "prompts.json").write_text(json.dumps(entries), encoding="utf-8")
            options = [*model_options(model), *knob_options(knobs), *(["--lock-style"] if lock_style else [])]
            words = ["batch", os.path.join(folder, "prompts.json"), *options]
            words += ["--format", "webp", "--lossless", "--output", str(place.path)]
            _ask(model, words, entries=len(entries))
        made = _results(place.path)
        files = [place.path / one["file"] for one in made]
        records = [one["record"] for one in made]
        images = [read_clip(f, r["frames"], r["fps"]) for f, r in zip(files, records, strict=True)]
        shown = [_shown(file, os.path.join(place.subfolder, place.path.name)) for file in files]
        fps = [float(record["fps"]) for record in records]
        return {
            "ui": {"images": shown, "animated": (True,)},
            "result": (images, fps, [str(file) for file in files]),
        }


def _generate(
    model: dict[str, Any], prompt: str, options: list[str], knobs: dict[str, Any]
) -> dict[str, Any]:
    """A node's answer: frames, frames per second and the file."""
    place = host.new_place(knobs.get("filename_prefix", PREFIX))
    file = place.path.with_name(f"{place.path.name}{'.png' if knobs.get('frames') == 1 else '.webp'}")
    # A prompt may begin with a dash.
    words = ["generate", *model_options(model), *options, "--lossless", "--output", str(file)]
    answer = _ask(model, words, ["--", prompt])
    images = read_clip(file, answer["frames"], answer["fps"])
    return {
        "ui": {"images": [_shown(file, place.subfolder)], "animated": (len(images) > 1,)},
        "result": (images, float(answer["fps"]), str(file)),
    }


def _ask(
    model: dict[str, Any], options: list[str], rest: list[str] | None = None, entries: int = 1
) -> dict[str, Any]:
    if model["free_memory"]:
        host.free_memory()
    return ask(options, rest or [], _follower(host.progress_bar(), entries), host.raise_if_interrupted)


def _follower(show: Callable[[int, int], None], entries: int) -> Callable[[dict[str, Any]], None]:
    """Steps on ComfyUI's bar; those of a batch as if all its entries had as many as the one at work."""
    finished = 0

    def follow(progress: dict[str, Any]) -> None:
        nonlocal finished
        if "entry" in progress:
            finished = progress["entry"] + 1
        elif "steps" in progress:
            show(finished * progress["steps"] + progress["step"], entries * progress["steps"])

    return follow


def _results(folder: Path) -> list[dict[str, Any]]:
    """What a batch has written down of its clips, in the order of its entries."""
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _shown(file: Path, subfolder: str) -> dict[str, str]:
    return {"filename": file.name, "subfolder": subfolder, "type": "output"}
