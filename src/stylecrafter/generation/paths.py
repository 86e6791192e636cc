"""Paths that still lead somewhere after files were moved together, and that tell nothing about the machine."""

from __future__ import annotations

import hashlib
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
    try:
        # A link below the folder is as good a way as a file; what it points to need not be below.
        in_place = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
        places = (in_place, os.path.realpath(path))
    except ValueError:  # a name that no file can have
        return None
    for place in places:
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


def shareable(path: str | os.PathLike[str]) -> str:
    """A path for reports: as it is where it leads down from the working folder, else its bare name."""
    text, here = os.fspath(path), os.getcwd()
    whole = Path(os.path.abspath(expand_home(text)))
    if not os.path.isabs(text) and not text.startswith("~") and ".." not in Path(text).parts:
        return readable(text)
    # From above the home folder, the way down would name its owner.
    down = whole.is_relative_to(here) and here not in map(str, expand_home("~").parents)
    return readable(whole.relative_to(here).as_posix() if down else whole.name)


def told_apart(paths: Iterable[str], folder: str | os.PathLike[str]) -> dict[str, str]:
    """A name for each path that tells it from the others: "./…" as seen from `folder` where it is below, else the
    file's own name, with that of its folder before it where names are not enough, and else a hash of its place."""
    names = {path: portable_path(path, Path(folder, "-")) for path in dict.fromkeys(paths)}
    elsewhere = [path for path, name in names.items() if name is None]
    for parts in (1, 2):
        tails = {path: "/".join(Path(path).parts[-parts:]) for path in elsewhere}
        if len(set(tails.values())) == len(tails):
            break
    else:
        tails = {
            path: f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}/{os.path.basename(path)}"
            for path in elsewhere
        }
    return {path: f"./{name}" if name else readable(tails[path]) for path, name in names.items()}


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
