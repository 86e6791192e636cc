"""Paths that still lead somewhere after files were moved together, and that tell little about the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def portable_path(path: str | os.PathLike[str], output: str | os.PathLike[str]) -> str:
    """`path` as seen from the folder of `output`, with forward slashes; absolute on another drive."""
    return readable(_relative(path, output))


def readable(name: str) -> str:
    """A file name as valid text: names may hold bytes that no text has, settings may not."""
    return name.encode("utf-8", "replace").decode()


def _relative(path: str | os.PathLike[str], output: str | os.PathLike[str]) -> str:
    target = Path(path).expanduser().resolve()
    try:
        return Path(os.path.relpath(target, Path(output).resolve().parent)).as_posix()
    except ValueError:
        return target.as_posix()


def candidates(recorded: str, output: str | os.PathLike[str]) -> Iterator[Path]:
    """Where a recorded path may lead to: from the output's folder, from here, then its bare name in both."""
    seen = set()
    for name in (recorded, PurePosixPath(recorded).name):
        for base in (Path(output).resolve().parent, Path.cwd()):
            path = Path(os.path.normpath(base / name))
            if path not in seen:
                seen.add(path)
                yield path
