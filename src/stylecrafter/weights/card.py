"""What a model folder says about itself: its sizes, its licence, and the world it knows."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.runtime.memory import count_parameters, read_config

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
    """Read the card of a model folder: README.md (with the hub's front matter), configs, `world.json`."""
    root = Path(folder)
    front, body = _read_readme(root / "README.md")
    return ModelCard(
        name=name or root.name,
        folder=root,
        license=str(front.get("license") or "not stated"),
        summary=_first_paragraph(body),
        parameters=sum(count_parameters(file) for file in root.rglob("*.safetensors")),
        size_bytes=sum(file.stat().st_size for file in root.rglob("*") if file.is_file()),
        size_multiple=size_multiple(root),
        defaults=read_defaults(root),
        world=read_world(root),
    )


def read_defaults(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The plain values of `model_index.json`: what the pipeline uses where nothing is asked for."""
    index = read_config(Path(folder) / "model_index.json")
    return {
        k: v for k, v in index.items() if not k.startswith("_") and isinstance(v, (bool, int, float, str))
    }


def size_multiple(folder: str | os.PathLike[str]) -> int:
    """Width and height must be multiples of this many pixels: encoder and UNet halve them so often."""
    vae = read_config(Path(folder) / "vae" / "config.json")
    unet = read_config(Path(folder) / "unet" / "config.json")
    halvings = sum(max(0, len(config.get("block_out_channels") or [0]) - 1) for config in (vae, unet))
    return int(2**halvings)


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


def _read_readme(file: Path) -> tuple[dict[str, Any], str]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}, ""
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    import yaml

    try:
        front = yaml.safe_load(match.group(1))
    except yaml.YAMLError:
        front = None
    return (front if isinstance(front, dict) else {}), text[match.end() :]


def _first_paragraph(body: str) -> str:
    blocks = (block.strip() for block in re.split(r"\n\s*\n", body))
    plain = next(
        (block for block in blocks if block and not block.startswith(("#", "!", "<", "|", "```"))), ""
    )
    return " ".join(plain.split())


def read_world(folder: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Lists of words by kind from the `world.json` of a model folder; empty where it has none.

    "words" may list all that captions were made of; the other kinds list names.
    """
    file = Path(folder) / WORLD_NAME
    words: dict[str, list[str]] = {}
    for kind, value in read_config(file).items():
        names = list(value) if isinstance(value, (list, dict)) else []
        if names and all(isinstance(name, str) for name in names):
            words[kind] = names
    return words
