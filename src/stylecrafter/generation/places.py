"""Where pictures and models lie on this machine, by their hashes, because results do not say it.

One file in the user's own cache folder, a line of json for each place, the newest last. It is a convenience: whatever
is wrong with it, a result is made all the same, and replaying it asks for `--style` or `--model`.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import parse_json, read_text
from stylecrafter.media.files import write_atomic

logger = logging.getLogger(__name__)

PLACES_NAME = "places.jsonl"
MAX_BYTES = 2**20
"""Of the file; beyond it the older half is forgotten. Enough for some 5,000 places."""


def remember(sha256: str, path: str | os.PathLike[str]) -> None:
    """Keep in mind where the file or the folder with this hash lies."""
    file, place = _file(), os.path.abspath(path)
    if file is None or recall(sha256) == Path(place):
        return
    try:
        # For the user's eyes alone: it lists names of folders.
        os.makedirs(file.parent, mode=0o700, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "ab") as stream:
            # A line of its own also where a killed process left half a line.
            stream.write(b"\n" + json.dumps({"sha256": sha256, "path": place}).encode())
            size = stream.tell()
        if size > MAX_BYTES:
            lines = file.read_bytes()[-MAX_BYTES // 2 :].split(b"\n")[1:]
            write_atomic(file, b"\n".join(lines))
    except (OSError, InvalidInputError) as error:
        logger.info("the place of %s is not remembered: %s", place, error)


def recall(sha256: str) -> Path | None:
    """Where that lay when it was used last; it may have changed or gone since."""
    file = _file()
    if file is None or not os.path.isfile(file):
        return None
    try:
        lines = read_text(file, limit=2 * MAX_BYTES).split("\n")
    except InvalidInputError as error:
        logger.info("remembered places cannot be read: %s", error)
        return None
    for line in reversed(lines):
        if sha256 in line and (place := _place(line, sha256)) is not None:
            return place
    return None


def _place(line: str, sha256: str) -> Path | None:
    try:
        content = parse_json(line, PLACES_NAME)
    except InvalidInputError:
        return None  # half a line of a killed process
    known = isinstance(content, dict) and content.get("sha256") == sha256
    return Path(content["path"]) if known and isinstance(content.get("path"), str) else None


def _file() -> Path | None:
    """The file, whether it is there or not; None for a user without a home."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder, "stylecrafter", PLACES_NAME) if os.path.isabs(folder) else None
