"""A look at the installation and the machine, with advice where something is off."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stylecrafter.runtime.memory import available_memory, format_bytes

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "av", "pillow", "numpy", "pydantic", "typer")
ENCODERS = {"libx264": ".mp4 files", "h264": "reading .mp4 files"}
_LITTLE_MEMORY, _LITTLE_DISK = 3 * 2**30, 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `advice` says what to do where it is not as it should be."""

    subject: str
    found: str
    advice: str | None = None


def diagnose(models: list[str]) -> list[Finding]:
    """Look at versions, devices, memory, disk and encoders, beside the names of the `models` at hand."""
    return [
        Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *_packages(),
        _devices(),
        _memory(),
        _disk(),
        *_encoders(),
        _models(models),
        Finding("hub", "offline (HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE") else "online"),
    ]


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "missing", f"pip install {name}")


def _devices() -> Finding:
    try:
        import torch

        from stylecrafter.runtime.devices import available_devices

        names = [
            f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name
            for name in available_devices()
        ]
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(
            "devices", "torch cannot be used", f"install torch again ({str(error).splitlines()[0]})"
        )
    return Finding("devices", f"{', '.join(names)}; {torch.get_num_threads()} threads")


def _memory() -> Finding:
    free = available_memory()
    advice = (
        None if free >= _LITTLE_MEMORY else "close other programs, or use --frames 8: mini needs about 3 GiB"
    )
    return Finding("memory", f"{format_bytes(free)} free", advice)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    advice = None if free >= _LITTLE_DISK else "make room: results and models are written here"
    return Finding("disk", f"{format_bytes(free)} free in this folder", advice)


def _encoders() -> Iterator[Finding]:
    try:
        import av
    except ImportError as error:
        yield Finding("encoders", "av cannot be used", f"pip install --force-reinstall av ({error})")
        return
    for name, purpose in ENCODERS.items():
        try:
            av.Codec(name, "w" if name.startswith("lib") else "r")
            yield Finding(name, purpose)
        except ValueError:
            yield Finding(name, "missing", f"{purpose} need it: install av from its wheel (pip install av)")
    from PIL import features

    webp = features.check("webp")
    yield Finding("webp", ".webp files" if webp else "missing", None if webp else "pip install pillow")


def _models(names: list[str]) -> Finding:
    if names:
        return Finding("models", ", ".join(names))
    return Finding(
        "models", "none embedded", f"install stylecrafter again into {sys.prefix}, or use --model FOLDER"
    )
