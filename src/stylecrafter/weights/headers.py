"""What a safetensors file says it holds, read from its header alone; needs no torch."""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass
from typing import Any

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import parse_json, shown
from stylecrafter.media.recognise import HEAD_BYTES, recognise

#: The library that writes these files refuses longer headers, too.
MAX_HEADER_BYTES = 100_000_000
SAFETENSORS = "a safetensors checkpoint"
TORCH = ("a torch checkpoint", "a Python pickle", "a zip archive")


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file: how its numbers are called ("F16") and its shape."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: str | os.PathLike[str]) -> dict[str, TensorEntry]:
    """Name -> entry of every tensor in a safetensors file.

    Raises:
        CheckpointError: No such file, something else, a part of one, or a header that says what cannot be.
    """
    size = checkpoint_size(path)
    name = f"{shown(path)} is not a complete safetensors file"
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
        length = int.from_bytes(head[:8], "little")
        found = recognise(head)
        if found is not None and found != SAFETENSORS:
            raise CheckpointError(f"{name}: it is {found}.")
        if len(head) < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise CheckpointError(f"{name}: of {size:,} bytes, {length:,} would be its header.")
        file.seek(8)
        header = parse_json(file.read(length), f"the header of {shown(path)}", error=CheckpointError)
    if not isinstance(header, dict):
        raise CheckpointError(f"{name}: its header is no mapping.")
    entries = {key: _entry(key, value, name) for key, value in header.items() if key != "__metadata__"}
    held = sum(value["data_offsets"][1] - value["data_offsets"][0] for value in _values(header))
    if held != size - 8 - length:
        raise CheckpointError(
            f"{name}: its header lists {held:,} bytes of numbers, {size - 8 - length:,} are there."
        )
    return entries


def checkpoint_size(path: str | os.PathLike[str]) -> int:
    """Bytes of a plain file that can be read: pipes and devices would never end.

    Raises:
        CheckpointError: It is none.
    """
    name = shown(path)
    try:
        info = os.stat(path)
        if stat.S_ISREG(info.st_mode):
            with open(path, "rb"):
                return info.st_size
    except FileNotFoundError as error:
        raise CheckpointError(f"no such file: {name}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{name} cannot be read: {reason}") from error
    what = "a folder" if stat.S_ISDIR(info.st_mode) else "no plain file"
    raise CheckpointError(f"{name} is {what}, a checkpoint is a file")


def _values(header: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for key, value in header.items() if key != "__metadata__"]


def _entry(key: str, value: Any, name: str) -> TensorEntry:
    fields = value if isinstance(value, dict) else {}
    dtype, shape, offsets = (
        fields.get("dtype"),
        _whole(fields.get("shape")),
        _whole(fields.get("data_offsets")),
    )
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise CheckpointError(f"{name}: its header says nothing sensible of {shown(key)}.")
    begin, end = offsets
    numbers = math.prod(shape)
    # The smallest format takes half a byte, the largest sixteen.
    if end < begin or not (end - begin) / 16 <= numbers <= 2 * (end - begin):
        raise CheckpointError(f"{name}: {shown(key)} {tuple(shape)} cannot lie in {end - begin:,} bytes.")
    return TensorEntry(dtype, tuple(shape))


def _whole(values: Any) -> list[int] | None:
    fits = isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)
    return values if fits else None
