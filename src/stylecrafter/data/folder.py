"""A folder of pictures and clips, with caption files of the same stem beside them, and tar shards among them."""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from pathlib import Path

from stylecrafter.data.records import Found, Problem, Record, kind_of
from stylecrafter.data.shards import read_shard
from stylecrafter.data.sidecars import CAPTION_SUFFIXES, Sidecar, SidecarError, first_sidecar


def read_folder(folder: Path) -> Found:
    """Everything under a folder, in the order of the names.

    Hidden files and folders are left out. Links to files are followed, links to folders are not.

    Args:
        folder: An existing folder.
    """
    found = Found()
    others: Counter[str] = Counter()

    def cannot_list(error: OSError) -> None:
        found.problems.append(Problem(str(error.filename), f"cannot be listed: {error.strerror}"))

    for current, subfolders, names in os.walk(folder, onerror=cannot_list):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        by_stem: dict[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            if not name.startswith("."):
                by_stem[os.path.splitext(name)[0]].append(name)
        for stem_names in by_stem.values():
            _read_stem(Path(current), folder, stem_names, found, others)
    found.records.sort(key=lambda record: record.name)
    for suffix, count in sorted(others.items()):
        found.notes.append(f"{count} files with the ending {suffix or '(none)'} are not read")
    return found


def _read_stem(current: Path, folder: Path, names: list[str], found: Found, others: Counter[str]) -> None:
    """Files of one stem: pictures or clips, and their captions."""
    media = [name for name in names if kind_of(name) is not None]
    suffix_of = {name: os.path.splitext(name)[1].lower() for name in names}
    captions = {suffix_of[name]: name for name in names if suffix_of[name] in CAPTION_SUFFIXES}
    for name in names:
        if suffix_of[name] == ".tar":
            shard = read_shard(current / name, _relative(current / name, folder))
            found.records += shard.records
            found.problems += shard.problems
            found.notes += shard.notes
        elif name not in media and suffix_of[name] not in CAPTION_SUFFIXES:
            others[suffix_of[name]] += 1
    if not media:
        for name in captions.values():
            found.problems.append(Problem(str(current / name), "a caption without picture or clip beside it"))
        return
    try:
        sidecar = first_sidecar(captions, lambda suffix: _read(current / captions[suffix]))
    except SidecarError as error:
        found.problems += [Problem(str(current / name), str(error)) for name in media]
        return
    for name in media:
        _add(current / name, folder, sidecar, found)


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
            raise SidecarError(f"the caption {path.name} is not a plain file")
        return path.read_bytes()
    except OSError as error:
        raise SidecarError(f"the caption {path.name} cannot be read: {error.strerror or error}") from error


def _add(path: Path, folder: Path, sidecar: Sidecar, found: Found) -> None:
    size = file_size(path, found)
    kind = kind_of(path.name)
    if size is None or kind is None:
        return
    name = _relative(path, folder)
    try:
        name.encode()
    except UnicodeEncodeError:
        found.problems.append(Problem(repr(str(path)), "the file name is not UTF-8"))
        return
    found.records.append(
        Record(
            name=name,
            path=path,
            kind=kind,
            size=size,
            caption=sidecar.caption,
            style_group=sidecar.style_group,
        )
    )


def file_size(path: Path, found: Found, label: str | None = None) -> int | None:
    """Bytes of a plain, non-empty file; otherwise a problem is noted, and None returned."""
    label = label or str(path)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        found.problems.append(Problem(label, "no such file"))
        return None
    except (OSError, ValueError) as error:
        found.problems.append(Problem(label, f"cannot be read: {getattr(error, 'strerror', None) or error}"))
        return None
    if not path.is_file():
        found.problems.append(Problem(label, "not a plain file"))
        return None
    if size == 0:
        found.problems.append(Problem(label, "empty (0 bytes)"))
        return None
    return size


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
