"""The streams that commands speak through: lines in which nothing is hidden, and ends that are told in one line."""

from __future__ import annotations

import io
import os
import re
import sys
from typing import TextIO

from stylecrafter.errors import OutputError

# What moves the cursor, colours or reorders a terminal's text, breaks lines, or stands for bytes that are no text:
# control characters, marks and overrides of direction, separators of lines, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """`text` with escapes such as \\x1b for what a terminal would obey instead of showing it."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def write_line(stream: TextIO, text: str) -> None:
    """Write a line and flush it; what the stream's encoding cannot hold is written as an escape."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


class ResultStream(io.TextIOWrapper):
    """Stdout that ends a command in one line where it takes no more: a full disk, or a reader who has gone."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._give_up(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._give_up(error) from error

    def _give_up(self, error: OSError) -> OutputError:
        # What waits in the buffer would fail once more at the very end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        return OutputError(f"the result cannot be shown on standard output: {error.strerror or error}.")


def occupy_standard_streams() -> None:
    """Give a closed stdin, stdout or stderr a place that takes everything: the next file to be opened would get its
    number, and what a library writes to stderr would end up in it."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
