"""Config files of a model's parts, read with their faults named."""

from __future__ import annotations

import os
from typing import Any

from stylecrafter.errors import CheckpointError
from stylecrafter.media.documents import read_json, shown


def read_config(file: str | os.PathLike[str], *, required: bool = False) -> dict[str, Any]:
    """The object of a json file; empty where there is no such file, unless it is required.

    Raises:
        CheckpointError: It is broken, or holds something else; or it is missing and required.
    """
    if not required and not os.path.lexists(file):
        return {}
    content = read_json(file, error=CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{shown(file)} holds a {type(content).__name__}, not settings by their names.")
    return content


def block_channels(config: dict[str, Any], file: str | os.PathLike[str]) -> list[int]:
    """`block_out_channels` of a config.

    Raises:
        CheckpointError: No list of a few whole numbers.
    """
    channels = config.get("block_out_channels")
    whole = isinstance(channels, list) and all(type(c) is int and 1 <= c < 2**20 for c in channels)
    if not isinstance(channels, list) or not whole or not 1 <= len(channels) <= 16:
        raise CheckpointError(
            f"{shown(file)}: block_out_channels must be a list of widths such as [320, 640], not "
            f"{shown(repr(channels))}."
        )
    return channels
