"""On what, and with what, something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "diffusers", "transformers")


def machine_facts(device: torch.device, arguments: list[str]) -> dict[str, Any]:
    """Processor, device, threads, load, versions, commit and command."""
    facts: dict[str, Any] = {"command": " ".join(["python -m benchmarks", *arguments])}
    facts["commit"] = _commit()
    facts["processor"] = (
        f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"
    )
    facts["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    facts["threads"] = torch.get_num_threads()
    facts["load before"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    facts["python"] = platform.python_version()
    return facts | {name: metadata.version(name) for name in PACKAGES}


def git(*arguments: str) -> str | None:
    """What git says of this repository; None where it cannot."""
    try:
        out = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip()


def _commit() -> str:
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return "unknown (no git history)"
    return commit + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
