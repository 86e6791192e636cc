"""What a safetensors file says it holds, read from its header alone; needs no torch."""

from __future__ import annotations

import os

from safetensors import SafetensorError, safe_open

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import opened_plain, shown
from stylecrafter.media.recognise import HEAD_BYTES, recognise

SAFETENSORS = "a safetensors checkpoint"
TORCH = ("a torch checkpoint", "a Python pickle", "a zip archive")


def read_shapes(path: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in a safetensors file.

    Raises:
        CheckpointError: No such file, something else, a part of one, or a header that says what cannot be.
    """
    name = f"{shown(path)} is not a complete safetensors file"
    found = recognise(head_of(path))
    if found not in (None, SAFETENSORS):
        raise CheckpointError(f"{name}: it is {found}.")
    try:
        with safe_open(path, framework="np") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{name}: {str(error).splitlines()[0]}.") from error


def head_of(path: str | os.PathLike[str]) -> bytes:
    """The first `HEAD_BYTES` of a plain file: pipes and devices would never end.

    Raises:
        CheckpointError: It is none, or cannot be read.
    """
    with opened_plain(path, error=CheckpointError) as file:
        return file.read(HEAD_BYTES)
