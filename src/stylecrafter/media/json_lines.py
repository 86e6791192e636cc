"""Files of one json object per line, added to while work goes on: what a kill leaves half harms no other line."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError, OutputError
from stylecrafter.media.documents import parse_json, read_bytes
from stylecrafter.media.files import write_atomic

logger = logging.getLogger(__name__)

MAX_BYTES = 2**30


class JsonLines:
    """The lines of a file, which need not be there yet; what cannot be read of it is left out, which is logged.

    Attributes:
        found: The objects that were there.

    Args:
        file: Where they lie.
        fits: Whether an object is a line of such a file.

    Raises:
        OutputError: There is something of that name that is no file, or that is larger than `MAX_BYTES`.
    """

    def __init__(self, file: Path, fits: Callable[[dict[str, Any]], bool]) -> None:
        self._file = file
        data = read_bytes(file, limit=MAX_BYTES, error=OutputError) if os.path.exists(file) else b""
        self._ends_within = bool(data) and not data.endswith(b"\n")
        texts = [text for text in data.split(b"\n") if text.strip()]
        lines = [_parsed(text) for text in texts]
        self.found = [line for line in lines if line is not None and fits(line)]
        if len(self.found) < len(texts):
            logger.warning(
                "%d lines of %s cannot be read and are left out", len(texts) - len(self.found), file
            )

    def add(self, line: dict[str, Any]) -> None:
        """Add one, on the disk when this returns.

        Raises:
            OutputError: The disk does not take it.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(self._file, "ab") as file:
                file.write((b"\n" if self._ends_within else b"") + _text(line))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self._file}: {error.strerror}.") from error
        self._ends_within = False

    def replace(self, lines: Iterable[dict[str, Any]]) -> None:
        """Write these instead of all that is there, in one step.

        Raises:
            OutputError: The disk does not take them.
        """
        write_atomic(self._file, b"".join(map(_text, lines)))
        self._ends_within = False


def _text(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = parse_json(text, "a line")
    except InvalidInputError:
        return None  # such as the last line of a killed process
    return line if isinstance(line, dict) else None
