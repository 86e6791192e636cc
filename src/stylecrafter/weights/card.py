"""What a model folder says about itself: its sizes, its licence, and the world it knows."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.media.documents import is_file, parse_yaml, read_text, shown
from stylecrafter.weights.configs import block_channels, read_config
from stylecrafter.weights.folders import MAX_NUMBER
from stylecrafter.weights.footprint import count_model_parameters

logger = logging.getLogger(__name__)

WORLD_NAME = "world.json"
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model.

    Attributes:
        parameters: Numbers in all its safetensors files.
        size_bytes: Bytes of all its files.
        defaults: The plain values of its `model_index.json` (sizes, steps, guidance …).
        world: Lists of words by kind ("objects", "scenes", "motions", "styles" …) from `world.json`: what the
            model was trained on and understands.
    """

    name: str
    folder: Path
    license: str
    summary: str
    parameters: int
    size_bytes: int
    size_multiple: int
    defaults: dict[str, Any] = field(default_factory=dict)
    world: dict[str, list[str]] = field(default_factory=dict)

    @property
    def clip(self) -> str:
        """What it makes where nothing else is asked for."""
        d = self.defaults
        frames, width, height = (d.get(f"default_{name}", "?") for name in ("frames", "width", "height"))
        return f"{frames} frames of {width}x{height}"


def read_card(folder: str | os.PathLike[str], name: str = "") -> ModelCard:
    """Read the card of a model folder: README.md (with the hub's front matter), configs, `world.json`.

    Raises:
        CheckpointError: A config or weights that cannot be read.
    """
    root = Path(folder)
    front, body = read_readme(root / "README.md")
    return ModelCard(
        name=name or root.name,
        folder=root,
        license=str(front.get("license") or "not stated"),
        summary=_first_paragraph(body),
        parameters=count_model_parameters(root),
        size_bytes=sum(file.stat().st_size for file in root.rglob("*") if is_file(file)),
        size_multiple=size_multiple(root),
        defaults=read_defaults(root),
        world=read_world(root),
    )


def read_defaults(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The plain values of `model_index.json`: what the pipeline uses where nothing is asked for.

    Raises:
        CheckpointError: It is missing or broken, or one of its numbers is none.
    """
    file = Path(folder) / "model_index.json"
    index = read_config(file, required=True)
    values = {
        k: v for k, v in index.items() if not k.startswith("_") and isinstance(v, (bool, int, float, str))
    }
    for name, value in values.items():
        if isinstance(value, (int, float)) and not abs(value) < MAX_NUMBER:
            raise CheckpointError(f"{file}: {name} is {shown(f'{value:.6g}')}, which is of no use.")
    return values


def size_multiple(folder: str | os.PathLike[str]) -> int:
    """Width and height must be multiples of this many pixels: encoder and UNet halve them so often.

    Raises:
        CheckpointError: One of their configs is missing or broken.
    """
    files = [Path(folder) / part / "config.json" for part in ("vae", "unet")]
    return int(2 ** sum(len(block_channels(read_config(file, required=True), file)) - 1 for file in files))


def check_size(width: int, height: int, multiple: int) -> None:
    """Check a size against what a model can make.

    Raises:
        InvalidInputError: Not positive multiples; the message names the nearest sizes that are.
    """
    if width > 0 and height > 0 and width % multiple == 0 and height % multiple == 0:
        return

    def near(value: int, up: bool) -> int:
        return max(multiple, (-(-value // multiple) if up else value // multiple) * multiple)

    sizes = list(dict.fromkeys(f"{near(width, up)}x{near(height, up)}" for up in (False, True)))
    raise InvalidInputError(
        f"size {width}x{height} does not fit the model: both sides must be multiples of {multiple}. "
        f"Nearest: {' or '.join(sizes)}."
    )


def read_readme(file: Path) -> tuple[dict[str, Any], str]:
    """Front matter and body; what cannot be read is left out, with a warning: it decides nothing."""
    try:
        text = read_text(file) if is_file(file) else ""
        match = _FRONT_MATTER.match(text)
        front = parse_yaml(match.group(1), f"the head of {file}") if match else {}
    except InvalidInputError as error:
        logger.warning("%s", error)
        return {}, ""
    return (front if isinstance(front, dict) else {}), text[match.end() if match else 0 :]


def _first_paragraph(body: str) -> str:
    blocks = (block.strip() for block in re.split(r"\n\s*\n", body))
    plain = next(
        (block for block in blocks if block and not block.startswith(("#", "!", "<", "|", "```"))), ""
    )
    return " ".join(plain.split())


def read_world(folder: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Lists of words by kind from the `world.json` of a model folder; empty where it has none.

    "words" may list all that captions were made of; the other kinds list names.

    Raises:
        CheckpointError: It is broken.
    """
    file = Path(folder) / WORLD_NAME
    words: dict[str, list[str]] = {}
    for kind, value in read_config(file).items():
        names = list(value) if isinstance(value, (list, dict)) else []
        if names and all(isinstance(name, str) for name in names):
            words[kind] = names
    return words
