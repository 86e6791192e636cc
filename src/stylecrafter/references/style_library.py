"""Where saved styles lie, and under which names.

One folder of this user, or the one that `STYLECRAFTER_STYLES` names, with a file for each style.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from stylecrafter.errors import InvalidInputError, OutputError, unknown_name
from stylecrafter.media.documents import expand_home, is_file, shown
from stylecrafter.media.files import write_atomic
from stylecrafter.references.saved_style import SUFFIX

FOLDER_VARIABLE = "STYLECRAFTER_STYLES"
#: Letters and digits of any script, and between them what every file system takes.
_NAME = re.compile(r"[^\W_](?:[\w .-]{0,62}[\w-])?")
#: What Windows keeps for devices, with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def library_folder() -> Path:
    """The folder of saved styles, whether it is there or not.

    Raises:
        InvalidInputError: This user has no home folder, and the variable is not set.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(os.path.abspath(expand_home(named)))
    if sys.platform == "darwin":
        data = expand_home("~/Library/Application Support")
    elif sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or expand_home("~/AppData/Local"))
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or expand_home("~/.local/share"))
    if not data.is_absolute():
        raise InvalidInputError(
            f"there is no home folder to keep styles in: set {FOLDER_VARIABLE} to a folder for them."
        )
    return data / "stylecrafter" / "styles"


def check_name(name: str) -> str:
    """The name itself, if a style can have it.

    Raises:
        InvalidInputError: It cannot.
    """
    if not _NAME.fullmatch(name) or _DEVICES.fullmatch(name):
        raise InvalidInputError(
            f"{shown(name)!r} is no name for a style: up to 64 letters, digits, spaces, dots, dashes and "
            'underscores, beginning with a letter or digit, such as "blue ink".'
        )
    return name


def style_file(name: str) -> Path:
    """The file of a style of that name, whether it is there or not.

    Raises:
        InvalidInputError: No style can have that name.
    """
    return library_folder() / f"{check_name(name)}{SUFFIX}"


def style_names() -> list[str]:
    """The names of all saved styles, in their order.

    Raises:
        InvalidInputError: Their folder cannot be read.
    """
    folder = library_folder()
    try:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise InvalidInputError(f"{shown(folder)} cannot be read: {error.strerror}.") from error
    return [
        file.stem for file in files if file.suffix == SUFFIX and _NAME.fullmatch(file.stem) and is_file(file)
    ]


def find_saved(name: str | os.PathLike[str]) -> Path | None:
    """The file of the style that is saved under that name, None where there is none."""
    text = os.fspath(name)
    if not _NAME.fullmatch(text) or _DEVICES.fullmatch(text):
        return None
    file = library_folder() / f"{text}{SUFFIX}"
    return file if is_file(file) else None


def need_saved(name: str) -> Path:
    """As `find_saved`.

    Raises:
        UnknownNameError: There is none; the message lists what there is.
        InvalidInputError: No style can have that name.
    """
    check_name(name)
    found = find_saved(name)
    if found is None:
        raise unknown_name("style", name, style_names(), "`stylecrafter style save` makes one.")
    return found


def check_free(file: Path, force: bool) -> None:
    """Refuse to replace a style that nobody asked to replace.

    Raises:
        OutputError: There is a file already.
    """
    if not force and os.path.lexists(file):
        raise OutputError(f"{shown(file)} is there already: choose another name, or replace it with --force.")


def add_style(file: Path, data: bytes, *, force: bool = False) -> Path:
    """Write a style's file in one step.

    Raises:
        OutputError: There is one already and `force` is not given, or the disk does not take it.
    """
    check_free(file, force)
    return write_atomic(file, data)


def remove_style(name: str) -> Path:
    """Remove the style of that name; returns where it was.

    Raises:
        InvalidInputError: There is none, or it cannot be removed.
    """
    file = need_saved(name)
    try:
        file.unlink()
    except OSError as error:
        raise OutputError(f"{shown(file)} cannot be removed: {error.strerror}.") from error
    return file
