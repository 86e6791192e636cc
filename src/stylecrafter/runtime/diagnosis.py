"""A look at the installation and the machine, with advice where something is off."""

from __future__ import annotations

import http.client
import os
import platform
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stylecrafter.runtime.memory import available_memory, format_bytes

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "av", "pillow", "numpy", "pydantic", "typer")
ENCODERS = {"libx264": ".mp4 files", "h264": "reading .mp4 files"}
_LITTLE_MEMORY, _LITTLE_DISK = 3 * 2**30, 2**30


HUB = "https://huggingface.co"
_HUB_SECONDS = 4.0
#: Switches of the libraries that fetch models, and what they take for "on".
_OFFLINE, _ON = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), ("1", "ON", "YES", "TRUE")


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
        _hub(),
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
    try:
        free = shutil.disk_usage(Path.cwd()).free
    except OSError as error:
        return Finding(
            "disk", f"this folder cannot be looked at ({error.strerror})", "go to one that is there"
        )
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


def _hub() -> Finding:
    """Whether models can be fetched. No advice where not: what comes along and what lies in folders works without."""
    switch = next((name for name in _OFFLINE if os.environ.get(name, "").upper() in _ON), None)
    if switch is not None:
        return Finding("hub", f"offline ({switch})")
    address = os.environ.get("HF_ENDPOINT") or HUB
    reason = _unreachable(address, _HUB_SECONDS)
    if reason is None:
        return Finding("hub", f"online ({address})")
    return Finding("hub", f"offline: {address} {reason}; embedded models and folders work all the same")


def _unreachable(address: str, seconds: float) -> str | None:
    """Why nothing answers at an address within so many seconds; None where something does."""
    answers: list[str | None] = []

    def ask() -> None:
        try:
            if not address.startswith(("https://", "http://")):
                raise ValueError("is no web address")
            with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=seconds):
                answers.append(None)
        except urllib.error.HTTPError as error:
            # The hub itself may dislike the question; a proxy or its own gateway speaks for nobody.
            answers.append(f"answers {error.code}" if error.code == 407 or error.code >= 500 else None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            reason = " ".join(str(getattr(cause, "strerror", None) or cause).split())
            answers.append(f"cannot be reached ({reason or type(error).__name__})")

    # Looking a name up knows no time limit: the thread is left behind then, and dies with the command.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"does not answer within {seconds:g} s"
