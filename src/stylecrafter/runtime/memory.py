"""How much memory there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch


def available_memory(device: torch.device | None = None) -> int:
    """Free bytes of a device; for the CPU of the machine, within the limit of a container."""
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    free, limited = psutil.virtual_memory().available, _cgroup_free()
    return free if limited is None else min(free, limited)


def format_bytes(count: float) -> str:
    """1536 MiB -> "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _cgroup_free() -> int | None:
    """What a container's memory limit leaves, where there is one."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
