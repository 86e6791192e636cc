"""Where the model runs, and in which numbers."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.runtime.ranks import local_rank

if TYPE_CHECKING:
    import torch

DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "float16": "float16",
    "fp16": "float16",
    "half": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
}
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device_name(name: str) -> str:
    """The name itself, if some machine could have such a device; needs no torch.

    Raises:
        UnknownNameError: Neither auto, cpu, mps, cuda nor cuda:N.
    """
    if not _DEVICE.fullmatch(name):
        raise unknown_name("device", name, ("auto", "cpu", "cuda", "cuda:0", "mps"))
    return name


def check_dtype_name(name: str) -> str:
    """The name itself, if it is "auto" or one of `DTYPES`; needs no torch.

    Raises:
        UnknownNameError: It is not.
    """
    if name != "auto" and name not in DTYPES:
        raise unknown_name("dtype", name, ("auto", *DTYPES))
    return name


def available_devices() -> list[str]:
    """Names of the devices of this machine, best first; always ends with "cpu"."""
    import torch

    names = (
        [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" is the best there is. Without a number, "cuda" is the first GPU.

    Of several processes that a launcher started on this machine, each takes a GPU of its own unless one is named.

    Raises:
        UnknownNameError: No device is ever called that.
        InvalidInputError: This machine has none of that name, or fewer GPUs than processes; the message says which
            it has.
    """
    import torch

    check_device_name(name)
    available = available_devices()
    kind = available[0].partition(":")[0] if name == "auto" else name
    wanted = f"cuda:{local_rank()}" if kind == "cuda" else kind
    if wanted not in available:
        if kind == "cuda" and "cuda:0" in available:
            raise InvalidInputError(
                f"process {local_rank()} of this machine has no GPU of its own. "
                f"Available: {', '.join(available)}; start as many processes as there are GPUs, or name a device."
            )
        raise InvalidInputError(f"device {name!r} is not available here. Available: {', '.join(available)}.")
    return torch.device(wanted)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of that name; "auto" is float16 on cuda and float32 elsewhere.

    Weights may lie on disk as float16: on a CPU they are still run in float32, since most CPUs compute halves
    tens of times more slowly or not at all.

    Raises:
        UnknownNameError: Not one of `DTYPES`.
        InvalidInputError: float16 on a CPU.
    """
    import torch

    check_dtype_name(name)
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    canonical = DTYPES[name]
    if canonical == "float16" and device.type == "cpu":
        raise InvalidInputError("float16 does not run on a cpu; use float32 (the default there) or bfloat16.")
    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[canonical]


def dtype_name(dtype: torch.dtype) -> str:
    """torch.float32 -> "float32"."""
    return str(dtype).removeprefix("torch.")


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on `device`; the host does not wait for a copy from its memory to a GPU."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    # From pageable memory, a copy would wait until the GPU has done all that it was asked before.
    return tensor.pin_memory().to(device, non_blocking=True)


@functools.lru_cache(maxsize=512)
def constant(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """Numbers as a tensor that stays on the device; not to be written to."""
    import torch

    return torch.tensor(values, device=device)
