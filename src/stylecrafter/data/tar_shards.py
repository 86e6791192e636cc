"""WebDataset shards: a plain tar whose members belong together by the name up to their first dot.

A shard is indexed once, by reading its headers and seeking over what lies between; afterwards every picture is reached
directly. Of a tar that was cut, everything before the cut is used and the cut is reported.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from stylecrafter.data.records import Found, Problem, Record, file_size, kind_of, too_large
from stylecrafter.data.sidecars import (
    CAPTION_SUFFIXES,
    LeftAside,
    SidecarError,
    byte_limit,
    first_sidecar,
)
from stylecrafter.media.documents import shown

_MAX_HEADER_BYTES = 2**20
"""Of all that stands before one member: names and attributes, of which most have some hundred bytes."""


@dataclass
class _Sample:
    media: list[tarfile.TarInfo] = field(default_factory=list)
    captions: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    own: dict[str, dict[str, tarfile.TarInfo]] = field(default_factory=dict)
    """Ending of a picture or clip -> the captions that begin with its whole name."""


def read_shard(path: Path, name: str) -> Found:
    """The samples of one tar, in its order.

    Args:
        path: The tar, not compressed.
        name: What its records are called: `name`:member.
    """
    found, label = Found(), shown(path)
    samples: dict[str, _Sample] = {}
    others = 0
    size = file_size(path, found)
    if size is None:
        return found
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"\x1f\x8b":
                found.problems.append(
                    Problem(label, "a compressed tar cannot be seeked in; unpack it to .tar")
                )
                return found
            file.seek(0)
            for member in _members(file, size, label, found):
                refused = _refusal(member)
                if refused:
                    found.problems.append(Problem(f"{label}:{shown(member.name)}", refused))
                else:
                    others += not _take(member, samples)
            _read_samples(file, path, name, samples, found)
    except OSError as error:
        found.problems.append(Problem(label, f"cannot be read: {error.strerror or error}"))
    if others:
        found.notes.append(
            f"{label}: {others} members that are neither pictures, clips nor captions are not read"
        )
    return found


def _take(member: tarfile.TarInfo, samples: dict[str, _Sample]) -> bool:
    """Add a member to its sample; False where it is neither picture, clip nor caption."""
    base = PurePosixPath(member.name)
    stem, _, ending = base.name.partition(".")
    sample = samples.setdefault(str(base.with_name(stem)) if stem else member.name, _Sample())
    suffix = f".{ending.lower()}"
    of_a_file, dot, last = ending.lower().rpartition(".")
    if suffix in CAPTION_SUFFIXES:
        sample.captions[suffix] = member
    elif dot and f".{last}" in CAPTION_SUFFIXES and kind_of(f"x.{of_a_file}") is not None:
        sample.own.setdefault(of_a_file, {})[f".{last}"] = member
    elif "." not in ending and kind_of(member.name) is not None:
        sample.media.append(member)
    else:
        return False
    return True


class _Headers(io.BufferedIOBase):
    """A tar as the library may read it: headers of a sane length, for it takes their word for how long they are."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, _MAX_HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0 or size > self.left:
            raise tarfile.ReadError(f"a header of more than {_MAX_HEADER_BYTES:,} bytes")
        self.left -= size
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def _members(file: BinaryIO, size: int, label: str, found: Found) -> Iterator[tarfile.TarInfo]:
    """Members whose bytes are all there. A cut shows in a member that ends behind the file, or in half a header."""
    count, reason = 0, "the tar ends inside it"
    headers = _Headers(file)
    tar = None
    while True:
        headers.left, before = _MAX_HEADER_BYTES, -1 if tar is None else tar.offset
        try:
            if tar is None:
                # It reads the first header when it is made.
                tar = tarfile.open(fileobj=headers, mode="r:", errors="surrogateescape")
            member = tar.next()
        except Exception as error:  # whatever the library makes of a damaged header: numbers, keys, recursion
            reason = f"{error}".strip() or type(error).__name__
            break
        if member is None:
            file.seek(tar.offset)
            # Zeros end a tar; the library also stops where the file ends, and at a damaged header.
            if file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE):
                return
            break
        if tar.offset <= before or member.size < 0:
            reason = "a header leads backwards"
            break
        if member.isfile() and member.offset_data + member.size > size:
            break
        count += 1
        tar.members = []  # type: ignore[attr-defined]  # the library would keep every header
        if not member.isdir():
            yield member
    what = (
        f"cut short or damaged: the {count} members before that are used ({shown(reason)})"
        if count
        else f"not a tar, or cut in its first member: {shown(reason)}"
    )
    found.problems.append(Problem(label, what))


def _refusal(member: tarfile.TarInfo) -> str | None:
    parts = PurePosixPath(member.name).parts
    if member.name.startswith("/") or ".." in parts or "\\" in member.name or ":" in member.name[:2]:
        return "refused: the name leaves the tar"
    try:
        member.name.encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8"
    if not member.isreg() or member.issparse():
        return "refused: not a plain file"
    return None


def _read_samples(file: BinaryIO, path: Path, name: str, samples: dict[str, _Sample], found: Found) -> None:
    label, aside = shown(path), LeftAside()
    for key, sample in samples.items():
        if not sample.media and (sample.captions or sample.own):
            found.problems.append(
                Problem(f"{label}:{shown(key)}", "a caption without picture or clip beside it")
            )
        for member in sample.media:
            kind = kind_of(member.name)
            ending = PurePosixPath(member.name).name.lower().partition(".")[2]
            captions = {**sample.captions, **sample.own.get(ending, {})}

            def read(suffix: str, captions: dict[str, tarfile.TarInfo] = captions) -> bytes:
                file.seek(captions[suffix].offset_data)
                return file.read(min(captions[suffix].size, byte_limit(suffix) + 1))

            try:
                if member.size == 0 or kind is None:
                    raise SidecarError("empty (0 bytes)")
                if (refused := too_large(kind, member.size)) is not None:
                    raise SidecarError(refused)
                sidecar = first_sidecar(captions, read)
            except SidecarError as error:
                found.problems.append(Problem(f"{label}:{shown(member.name)}", str(error).rstrip(".")))
                continue
            aside.add(sidecar, f"{name}:{member.name}")
            found.records.append(
                Record(
                    name=f"{name}:{member.name}",
                    path=path,
                    kind=kind,
                    size=member.size,
                    caption=sidecar.caption,
                    style_group=sidecar.style_group,
                    offset=member.offset_data,
                )
            )
    found.notes += aside.notes()
