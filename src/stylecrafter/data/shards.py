"""WebDataset shards: a plain tar whose members belong together by the name up to their first dot.

A shard is indexed once, by reading its headers and seeking over what lies between; afterwards every picture is reached
directly. Of a tar that was cut, everything before the cut is used and the cut is reported.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from stylecrafter.data.records import Found, Problem, Record, kind_of
from stylecrafter.data.sidecars import (
    CAPTION_SUFFIXES,
    MAX_CAPTION_BYTES,
    SidecarError,
    first_sidecar,
)


@dataclass
class _Sample:
    media: list[tarfile.TarInfo] = field(default_factory=list)
    captions: dict[str, tarfile.TarInfo] = field(default_factory=dict)


def read_shard(path: Path, name: str) -> Found:
    """The samples of one tar, in its order.

    Args:
        path: The tar, not compressed.
        name: What its records are called: `name`:member.
    """
    found = Found()
    samples: dict[str, _Sample] = {}
    others = 0
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            found.problems.append(Problem(str(path), "not a plain file"))
            return found
        with open(path, "rb") as file:
            if file.read(2) == b"\x1f\x8b":
                found.problems.append(
                    Problem(str(path), "a compressed tar cannot be seeked in; unpack it to .tar")
                )
                return found
        for member in _members(path, status.st_size, found):
            refused = _refusal(member)
            if refused:
                found.problems.append(Problem(f"{path}:{_shown(member.name)}", refused))
                continue
            base = PurePosixPath(member.name)
            stem, _, ending = base.name.partition(".")
            sample = samples.setdefault(str(base.with_name(stem)) if stem else member.name, _Sample())
            suffix = f".{ending.lower()}"
            if suffix in CAPTION_SUFFIXES:
                sample.captions[suffix] = member
            elif "." not in ending and kind_of(member.name) is not None:
                sample.media.append(member)
            else:
                others += 1
        _read_samples(path, name, samples, found)
    except OSError as error:
        found.problems.append(Problem(str(path), f"cannot be read: {error.strerror or error}"))
    if others:
        found.notes.append(
            f"{path}: {others} members that are neither pictures, clips nor captions are not read"
        )
    return found


def _members(path: Path, size: int, found: Found) -> Iterator[tarfile.TarInfo]:
    """Members whose bytes are all there. A cut shows in a member that ends behind the file, or in half a header."""
    if size == 0:
        found.problems.append(Problem(str(path), "empty (0 bytes)"))
        return
    count = 0
    try:
        with tarfile.open(path, mode="r:", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                if member.isfile() and member.offset_data + member.size > size:
                    break
                count += 1
                tar.members = []  # type: ignore[attr-defined]  # the library would keep every header
                if not member.isdir():
                    yield member
            else:
                if _ends_properly(path, tar.offset):
                    return
    except (tarfile.TarError, EOFError, ValueError) as error:
        if count == 0:
            found.problems.append(Problem(str(path), f"not a tar, or cut in its first member: {error}"))
            return
    found.problems.append(
        Problem(str(path), f"cut short or damaged: the {count} members before that are used")
    )


def _ends_properly(path: Path, offset: int) -> bool:
    """Whether the reading stopped at the zeros that end a tar, not at the end of the file or at a damaged header."""
    with open(path, "rb") as file:
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
    return len(block) == tarfile.BLOCKSIZE and not any(block)


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


def _shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _read_samples(path: Path, name: str, samples: dict[str, _Sample], found: Found) -> None:
    with open(path, "rb") as file:
        for key, sample in samples.items():
            captions = sample.captions

            def read(suffix: str, captions: dict[str, tarfile.TarInfo] = captions) -> bytes:
                member = captions[suffix]
                file.seek(member.offset_data)
                return file.read(min(member.size, MAX_CAPTION_BYTES + 1))

            if not sample.media:
                if captions:
                    found.problems.append(
                        Problem(f"{path}:{key}", "a caption without picture or clip beside it")
                    )
                continue
            try:
                sidecar = first_sidecar(captions, read)
            except SidecarError as error:
                found.problems += [Problem(f"{path}:{member.name}", str(error)) for member in sample.media]
                continue
            for member in sample.media:
                kind = kind_of(member.name)
                if member.size == 0 or kind is None:
                    found.problems.append(Problem(f"{path}:{member.name}", "empty (0 bytes)"))
                    continue
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
