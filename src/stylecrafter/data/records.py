"""One picture or clip with its caption, wherever it lies; and what is wrong with those that cannot be used."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from stylecrafter.errors import ImageReadError, InvalidInputError
from stylecrafter.media.documents import opened_plain, shown


class Kind(StrEnum):
    """What a record holds."""

    PICTURE = "picture"
    CLIP = "clip"


PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2")
)
CLIP_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".gif")
)


MAX_MEMBER_BYTES = {Kind.PICTURE: 2**30, Kind.CLIP: 2**32}
"""Of one inside a tar, which comes into memory whole."""


def kind_of(name: str) -> Kind | None:
    """By the ending of a name; None where it is neither. A `.webp` counts as a picture, a `.gif` as a clip."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PICTURE_SUFFIXES:
        return Kind.PICTURE
    return Kind.CLIP if suffix in CLIP_SUFFIXES else None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be used: which file or line, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One picture or clip.

    Attributes:
        name: Relative to the data it belongs to; with it, records are told apart.
        path: The file, or the tar that it lies in.
        offset: First byte inside a tar, None for a file of its own.
        size: Bytes.
        caption: As written; None where there is none.
        style_group: Records of a group share their style: each can be the other's reference.
    """

    name: str
    path: Path
    kind: Kind
    size: int
    caption: str | None = None
    style_group: str | None = None
    offset: int | None = None

    @property
    def label(self) -> str:
        """How a report calls it."""
        path = shown(self.path)
        return path if self.offset is None else f"{path}:{shown(self.name.rpartition(':')[2])}"

    def source(self) -> Path | bytes:
        """The file, or its bytes out of a tar.

        Raises:
            ImageReadError: The tar is missing or shorter than it was, or the member larger than `MAX_MEMBER_BYTES`.
        """
        if self.offset is None:
            return self.path
        refused = too_large(self.kind, self.size)
        if refused is not None:
            raise ImageReadError(refused)
        try:
            with open(self.path, "rb") as tar:
                tar.seek(self.offset)
                data = tar.read(self.size)
        except OSError as error:
            raise ImageReadError(f"cannot be read: {error.strerror or error}") from error
        if len(data) < self.size:
            raise ImageReadError(f"cut short: {len(data)} of {self.size} bytes")
        return data


def too_large(kind: Kind, size: int) -> str | None:
    """Why a member of a tar is not read, None where it may be."""
    limit = MAX_MEMBER_BYTES[kind]
    if size <= limit:
        return None
    return f"too large: {size:,} bytes; the limit inside a tar is {limit:,}"


def reason_of(error: Exception, label: object) -> str:
    """What an error says of a file, without the file's name and the stop."""
    return str(error).replace(str(label), "").lstrip(": ").rstrip(".") or "cannot be read"


@dataclass
class Found:
    """What a folder, a manifest or shards hold.

    Attributes:
        records: In a fixed order.
        problems: What was found broken so far; pictures and clips themselves have not been decoded.
        notes: What was left aside without being broken.
    """

    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def file_size(path: Path, found: Found, label: str | None = None) -> int | None:
    """Bytes of a plain, non-empty file; otherwise a problem is noted, and None returned."""
    try:
        with opened_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
        reason = None if size else "empty (0 bytes)"
    except InvalidInputError as error:
        reason = reason_of(error, shown(path))
    if reason is None:
        return size
    found.problems.append(Problem(label or shown(path), reason.removeprefix("is ")))
    return None


@dataclass
class Report:
    """What was not used, how often it was met, and why. Iterating gives its lines."""

    counts: Counter[Problem] = field(default_factory=Counter)

    def add(self, name: str, reason: str) -> None:
        """Count one more."""
        self.counts[Problem(name, reason)] += 1

    def __iter__(self) -> Iterator[str]:
        if not self.counts:
            return
        yield f"{len({problem.name for problem in self.counts})} not usable:"
        for problem, count in sorted(self.counts.items(), key=lambda item: (item[0].name, item[0].reason)):
            times = f" ({count} times)" if count > 1 else ""
            yield f"{problem.name}: {problem.reason}{times}"

    def __str__(self) -> str:
        return "\n".join(self)


def fingerprint_records(records: list[Record]) -> str:
    """sha256 over names, sizes, captions and groups: changes when the data does, not when its folder moves."""
    digest = hashlib.sha256()
    for record in records:
        parts = (record.name, record.kind.value, str(record.size), record.caption, record.style_group)
        digest.update(
            "\x1f".join("\x00" if part is None else part for part in parts).encode(errors="surrogatepass")
        )
        digest.update(b"\x1e")
    return digest.hexdigest()
