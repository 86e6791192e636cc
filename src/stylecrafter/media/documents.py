"""Text, JSON and YAML that users bring, read within limits: one guarded reader for each, used at every boundary.

Whatever a file holds, a reader returns plain data or raises the error that was asked for: a pipe, an endless device,
a gigabyte, nesting without end, an alias bomb, another encoding and a name that no file system takes are all refused
in one line that says what was found and what would be right.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.media.recognise import HEAD_BYTES, recognise

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 64 * 2**20
"""Of any such file: a batch of 100,000 entries has about a third of it."""
MAX_DEPTH = 64
"""Lists and mappings inside each other; what is meant to be read by people has five."""
MAX_VALUES = 5_000_000
"""Values in a document, with everything that YAML aliases repeat counted as often as it is repeated."""

Refusal = type[InvalidInputError]


def expand_home(path: str | os.PathLike[str]) -> Path:
    """`path` with a home folder for a leading "~"; a name that only begins so ("~$draft.png") is taken as it is."""
    if not os.fspath(path).startswith("~"):  # "./~" is a name, which a `Path` of it is not
        return Path(path)
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):  # no such user, no home, or no name that a user could have
        return Path(path)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a plain file; False, not an error, for a name that no file system takes or may be looked at."""
    return os.path.isfile(path)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """As `is_file`, of a folder."""
    return os.path.isdir(path)


@contextlib.contextmanager
def opened_plain(
    path: str | os.PathLike[str], *, what: str = "file", error: Refusal = InvalidInputError
) -> Iterator[BufferedReader]:
    """A plain file, open for reading; `what` is what errors call such a file.

    Raises:
        InvalidInputError: Or the `error` that was asked for: missing, no plain file, or it cannot be read.
    """
    name = shown(path)
    try:
        # Before opening: a pipe would wait for ever.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise error(f"{name} is a folder, not a {what}.")
        if not stat.S_ISREG(mode):
            raise error(f"{name} is not a plain file.")
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError as cause:
        raise error(f"{name}: no such {what}.") from cause
    except (OSError, ValueError) as cause:
        if isinstance(cause, InvalidInputError):
            raise
        raise error(f"{name} cannot be read: {getattr(cause, 'strerror', None) or cause}.") from cause


def read_bytes(
    path: str | os.PathLike[str], *, limit: int = MAX_BYTES, error: Refusal = InvalidInputError
) -> bytes:
    """The bytes of a plain file of at most `limit` bytes.

    Raises:
        InvalidInputError: Or the `error` that was asked for: missing, unreadable, no plain file, or larger.
    """
    name = shown(path)
    with opened_plain(path, error=error) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise error(f"{name} is too large: {size:,} bytes, and at most {limit:,} are read.")
        data = file.read(limit + 1)
    if len(data) > limit:  # it grew, or is one of those that the kernel writes and gives no size
        raise error(f"{name} is too large: more than {limit:,} bytes.")
    return data


def read_text(
    path: str | os.PathLike[str], *, limit: int = MAX_BYTES, error: Refusal = InvalidInputError
) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InvalidInputError: As `read_bytes`, and where it is no UTF-8; the message says what it seems to be.
    """
    return decode_text(read_bytes(path, limit=limit, error=error), shown(path), error=error)


def decode_text(data: bytes, name: str, *, error: Refusal = InvalidInputError) -> str:
    """Bytes as UTF-8; `name` is what errors call them.

    Raises:
        InvalidInputError: Or the `error` that was asked for: they are not.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise error(f"{name} is {'UTF-32' if data[2:4] == bytes(2) else 'UTF-16'}; save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        found = recognise(data[:HEAD_BYTES])
        what = f"is {found}" if found else f"is not UTF-8: byte 0x{data[cause.start]:02x} at {cause.start}"
        raise error(f"{name} {what}.") from cause


def read_json(path: str | os.PathLike[str], *, error: Refusal = InvalidInputError) -> Any:
    """What a JSON file holds.

    Raises:
        InvalidInputError: As `read_text` and `parse_json`.
    """
    return parse_json(read_text(path, error=error), shown(path), error=error)


def parse_json(text: str | bytes, name: str, *, error: Refusal = InvalidInputError) -> Any:
    """What JSON holds; `name` is what errors call it.

    Raises:
        InvalidInputError: Or the `error` that was asked for: not JSON, nested deeper than `MAX_DEPTH`, or more than
            `MAX_VALUES`.
    """
    if isinstance(text, bytes):
        text = decode_text(text, name, error=error)
    if text.count("[") + text.count("{") > MAX_VALUES:
        # Before any is made: an empty list has two characters, and takes some sixty bytes.
        raise error(f"{name} holds too much: more than {MAX_VALUES:,} lists and objects.")
    try:
        content = json.loads(text)
    except RecursionError as cause:
        raise error(f"{name} is nested too deeply: more than {MAX_DEPTH} levels.") from cause
    except json.JSONDecodeError as cause:
        if not text.strip():
            raise error(f"{name} is empty.") from cause
        raise error(f"{name} is {_instead(text) or f'not JSON: {_one_line(cause)}'}.") from cause
    except ValueError as cause:
        # Python's own words tell programmers how to read it all the same.
        raise error(f"{name} holds a number of thousands of digits.") from cause
    _check_shape(content, name, error)
    return content


def read_yaml(path: str | os.PathLike[str], *, error: Refusal = InvalidInputError) -> Any:
    """What a YAML file of plain data and of at most a megabyte holds; no tag of it makes an object.

    Raises:
        InvalidInputError: As `read_text` and `parse_yaml`.
    """
    return parse_yaml(read_text(path, limit=2**20, error=error), shown(path), error=error)


def parse_yaml(
    text: str,
    name: str,
    *,
    error: Refusal = InvalidInputError,
    loader: type[yaml.SafeLoader] | type[yaml.BaseLoader] | None = None,
) -> Any:
    """What YAML of plain data holds; `name` is what errors call it, `loader` another class than the usual one.

    Raises:
        InvalidInputError: Or the `error` that was asked for: not YAML, nested deeper than `MAX_DEPTH`, or aliases
            that hold themselves or stand for more than `MAX_VALUES` values.
    """
    import yaml

    from stylecrafter.media import yaml_nodes

    try:
        content = yaml_nodes.load(text, MAX_VALUES, loader or yaml.SafeLoader)
    except yaml_nodes.TooManyValuesError as cause:
        raise error(f"{name} holds too much: more than {MAX_VALUES:,} values.") from cause
    except RecursionError as cause:
        raise error(f"{name} is nested too deeply: more than {MAX_DEPTH} levels.") from cause
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, LookupError, AttributeError) as cause:
        # Its constructors answer impossible dates, numbers and tags with exceptions of their own.
        raise error(f"{name} is {_instead(text) or f'not YAML: {_one_line(cause)}'}.") from cause
    _check_shape(content, name, error)
    return content


def shown(path: str | os.PathLike[str]) -> str:
    """A path as valid text in one line, cut where it is absurdly long: names may hold bytes that no text has."""
    text = os.fspath(path).encode("utf-8", "replace").decode()
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= 200 else f"{text[:120]}…{text[-60:]}"


def _check_shape(content: Any, name: str, error: Refusal) -> None:
    """Refuse nesting and repetition that code which walks the document would drown in."""
    count = 0
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, (list, set, tuple)):
                inner.extend(value)
            if count + len(inner) > MAX_VALUES:
                raise error(f"{name} holds too much: more than {MAX_VALUES:,} values.")
        count += len(inner)
        level = inner
        if not level:
            return
    raise error(f"{name} is nested too deeply: more than {MAX_DEPTH} levels.")


def _instead(text: str) -> str | None:
    return recognise(text[:HEAD_BYTES].encode("utf-8", "replace"))


def _one_line(error: Exception) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return (line if len(line) <= 300 else f"{line[:300]}…").rstrip(".")
