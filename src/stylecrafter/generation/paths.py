"""Paths that still lead somewhere after files were moved together, and that tell nothing about the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from stylecrafter.media.documents import expand_home


def portable_path(path: str | os.PathLike[str], output: str | os.PathLike[str]) -> str | None:
    """`path` as seen from the folder of `output`, with forward slashes; None where it is not below that folder.

    The way to another folder would name the folders of the machine, and often who sits before it.
    """
    folder = os.path.dirname(os.path.realpath(output))
    whole = os.path.abspath(path)
    # A link below the folder is as good a way as a file; what it points to need not be below.
    in_place = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
    for place in (in_place, os.path.realpath(path)):
        if Path(place).is_relative_to(folder):
            return readable(Path(place).relative_to(folder).as_posix())
    return None


def readable(name: str) -> str:
    """A file name as valid text: names may hold bytes that no text has, settings may not."""
    return name.encode("utf-8", "replace").decode()


def user_path(path: str | os.PathLike[str], folder: str | os.PathLike[str] = "") -> Path:
    """A path that a user gave, relative to `folder`: what is there under that very name, or "~" as the home folder."""
    literal = Path(folder) / path
    return literal if os.path.lexists(literal) else Path(folder) / expand_home(path)


def without_folders(text: str, paths: Iterable[str | os.PathLike[str]]) -> str:
    """`text`, such as a message that is kept beside the results, with bare names for these paths."""
    for path in sorted({os.fspath(path) for path in paths}, key=len, reverse=True):
        if os.path.dirname(path):
            text = text.replace(path, os.path.basename(path))
    return text


def candidates(recorded: str, output: str | os.PathLike[str]) -> Iterator[Path]:
    """Where a recorded path may lead to: from the output's folder, from here, then its bare name in both."""
    seen = set()
    folder = os.path.dirname(os.path.realpath(output))
    for name in (recorded, PurePosixPath(recorded).name):
        for base in (folder, os.getcwd()):
            path = Path(os.path.normpath(os.path.join(base, name)))
            if path not in seen:
                seen.add(path)
                yield path
