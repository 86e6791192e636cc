"""A result must not replace what it is made from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from stylecrafter.errors import OutputError
from stylecrafter.media.documents import shown

PathLike = str | os.PathLike[str]


def refuse_overwriting(
    outputs: Iterable[PathLike], inputs: Iterable[PathLike], folders: Iterable[PathLike] = ()
) -> None:
    """Check, before any work, that no file which is to be written is one that is read.

    Files are told by what they are and not by their names, so that links, "./" and other cases of a name are seen.

    Args:
        outputs: Files to write; those that are not there yet are nobody's input.
        inputs: Files that are read.
        folders: Folders whose files are read, such as a model's.

    Raises:
        OutputError: One of them is both.
    """
    present: dict[tuple[int, int] | None, PathLike] = {_identity(path): path for path in outputs}
    present.pop(None, None)
    if not present:
        return
    for file in (*inputs, *(file for folder in folders for file in _files(folder))):
        output = present.get(_identity(file))
        if output is not None:
            raise OutputError(
                f"cannot write {shown(output)}: it is {shown(file)}, which is read for it; name another file."
            )


def _files(folder: PathLike) -> Iterator[str]:
    for inside, _, names in os.walk(folder):
        yield from (os.path.join(inside, name) for name in names)


def _identity(path: PathLike) -> tuple[int, int] | None:
    """The file behind a name, links followed; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino
