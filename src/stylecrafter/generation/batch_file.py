"""The published test-set layout: a json list of prompts and style pictures.

    [{"prompt": "…", "style_path": "a.png"}, {"prompt": "…", "style_path": ["a.png", "b.png"]}]

Paths are relative to the file they stand in.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stylecrafter.errors import InvalidInputError

_PROMPT_CHARACTERS, _STYLE_CHARACTERS = 40, 20


@dataclass(frozen=True)
class Entry:
    """One clip to make.

    Attributes:
        index: Position in the file, from 0.
        name: File name without suffix; differs from all others by its number.
        styles: Paths of the style pictures, resolved against the file's folder.
    """

    index: int
    name: str
    prompt: str
    styles: tuple[str, ...]


def read_entries(file: str | os.PathLike[str]) -> list[Entry]:
    """Read a batch file.

    Raises:
        InvalidInputError: Missing, not json, or not in the layout; the message names the entry.
    """
    path = Path(file)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise InvalidInputError(f"{path} is not json: {error}.") from error
    if not isinstance(content, list) or not content:
        raise InvalidInputError(f'{path} must hold a list of {{"prompt": …, "style_path": …}}.')
    digits = max(4, len(str(len(content) - 1)))
    return [_read_entry(item, index, digits, path) for index, item in enumerate(content)]


def _read_entry(item: Any, index: int, digits: int, file: Path) -> Entry:
    prompt = item.get("prompt") if isinstance(item, dict) else None
    styles = item.get("style_path") if isinstance(item, dict) else None
    if isinstance(styles, str):
        styles = [styles]
    if not isinstance(prompt, str):
        raise InvalidInputError(f"{file}: entry {index} has no prompt.")
    if not isinstance(styles, list) or not styles or not all(isinstance(s, str) and s for s in styles):
        raise InvalidInputError(f"{file}: entry {index} needs a style_path: one path, or a list of them.")
    resolved = tuple(os.path.normpath(file.parent / Path(s).expanduser()) for s in styles)
    words = [_slug(prompt, _PROMPT_CHARACTERS), _slug(PurePosixPath(styles[0]).stem, _STYLE_CHARACTERS)]
    return Entry(index, "_".join([f"{index:0{digits}d}", *filter(None, words)]), prompt, resolved)


def _slug(text: str, length: int) -> str:
    """Words that every file system takes: lower-case ASCII letters and digits, joined by dashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower())[:length].strip("-")
