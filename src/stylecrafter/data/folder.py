"""A folder of pictures and clips, with captions beside them or in a table, and tar shards among them."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stylecrafter.data.metadata import METADATA_NAMES, UNREAD_METADATA, Metadata
from stylecrafter.data.records import Found, Problem, Record, file_size, kind_of, reason_of
from stylecrafter.data.sidecars import (
    CAPTION_SUFFIXES,
    LeftAside,
    Sidecar,
    SidecarError,
    byte_limit,
    first_sidecar,
)
from stylecrafter.data.tar_shards import read_shard
from stylecrafter.media.documents import read_bytes, shown


@dataclass
class _Reading:
    """What is known while a folder is read."""

    root: Path
    metadata: Metadata
    found: Found = field(default_factory=Found)
    others: Counter[str] = field(default_factory=Counter)
    aside: LeftAside = field(default_factory=LeftAside)


def read_folder(folder: Path) -> Found:
    """Everything under a folder, in the order of the names.

    Hidden files and folders are left out. Links to files are followed, links to folders are not. A caption file
    belongs to the files of its stem, or to one file whose whole name it begins with (`fox.jpg.txt`), and comes before
    a row of a metadata table.

    Args:
        folder: An existing folder.
    """
    reading = _Reading(folder, Metadata(folder))
    found = reading.found
    for current, names in _folders(folder, found):
        reading.metadata.read(current, names, found)
        by_stem: dict[str, list[str]] = defaultdict(list)
        for name in names:
            if name not in (*METADATA_NAMES, UNREAD_METADATA):
                by_stem[os.path.splitext(name)[0]].append(name)
        own = {name: _captions(by_stem[name]) for name in names if kind_of(name) and name in by_stem}
        for stem, stem_names in by_stem.items():
            _read_stem(current, stem_names, own, reading, of_a_file=stem in own)
    found.records.sort(key=lambda record: record.name)
    reading.metadata.report(found)
    found.notes += reading.aside.notes()
    for suffix, count in sorted(reading.others.items()):
        found.notes.append(f"{count} files with the ending {suffix or '(none)'} are not read")
    return found


def _folders(root: Path, found: Found) -> Iterator[tuple[Path, list[str]]]:
    """A folder and all inside it, each before its own, with the names of its files."""
    links = 0
    todo = [root]
    while todo:
        current = todo.pop()
        files, folders = [], []
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        links += 1
                    else:
                        files.append(entry.name)
        except OSError as error:
            found.problems.append(Problem(shown(current), f"cannot be listed: {error.strerror or error}"))
        yield current, sorted(files)
        todo += [current / name for name in sorted(folders, reverse=True)]
    if links:
        found.notes.append(f"{links} links to folders are not followed")


def _captions(names: list[str]) -> dict[str, str]:
    """Ending -> name of the caption files among `names`."""
    found: dict[str, str] = {}
    for name in names:
        suffix = os.path.splitext(name)[1].lower()
        if suffix in CAPTION_SUFFIXES:
            found.setdefault(suffix, name)
    return found


def _read_stem(
    current: Path, names: list[str], own: Mapping[str, dict[str, str]], reading: _Reading, *, of_a_file: bool
) -> None:
    """Files of one stem: pictures or clips, and their captions.

    Args:
        current: Where they lie.
        names: Theirs.
        own: Name of a picture or clip -> its captions that begin with its whole name.
        reading: What is known so far.
        of_a_file: Whether the stem is the whole name of a picture or clip.
    """
    found = reading.found
    media = [name for name in names if kind_of(name) is not None]
    captions = _captions(names)
    for name in names:
        suffix = os.path.splitext(name)[1].lower()
        if suffix == ".tar":
            shard = read_shard(current / name, _relative(current / name, reading.root))
            found.records += shard.records
            found.problems += shard.problems
            found.notes += shard.notes
        elif name not in media and suffix not in CAPTION_SUFFIXES:
            reading.others[shown(suffix)] += 1
    if not media and not of_a_file:
        for suffix, name in captions.items():
            if suffix == ".json":  # most that lie alone are no captions: lists of a data set, statistics
                reading.others[suffix] += 1
                continue
            found.problems.append(
                Problem(shown(current / name), "a caption without picture or clip beside it")
            )
    for name in media:
        _add(current / name, {**captions, **own.get(name, {})}, reading)


def _add(path: Path, captions: Mapping[str, str], reading: _Reading) -> None:
    found = reading.found
    name = _relative(path, reading.root)
    row = reading.metadata.of(name)
    try:
        sidecar = first_sidecar(captions, lambda suffix: _read(path.parent / captions[suffix], suffix))
    except SidecarError as error:
        if row is None or row.caption is None:
            found.problems.append(Problem(shown(path), str(error).rstrip(".")))
            return
        sidecar = Sidecar(left=((next(iter(captions)), str(error).rstrip(".")),))
    caption, group = sidecar.caption, sidecar.style_group
    if row is not None:
        reading.metadata.both += caption is not None and row.caption is not None
        caption = caption if caption is not None else row.caption
        group = group if group is not None else row.style_group
    reading.aside.add(Sidecar(caption, group, sidecar.left), name)
    size, kind = file_size(path, found), kind_of(path.name)
    if size is None or kind is None:
        return
    try:
        name.encode()
    except UnicodeEncodeError:
        found.problems.append(Problem(shown(path), "the file name is not UTF-8"))
        return
    found.records.append(
        Record(name=name, path=path, kind=kind, size=size, caption=caption, style_group=group)
    )


def _read(path: Path, suffix: str) -> bytes:
    try:
        return read_bytes(path, limit=byte_limit(suffix), error=SidecarError)
    except SidecarError as error:
        raise SidecarError(f"the caption {shown(path.name)} {reason_of(error, shown(path))}") from error


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
