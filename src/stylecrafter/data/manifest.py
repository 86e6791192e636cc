"""Finding training data: a folder, a CSV or JSONL manifest, or WebDataset shards, as one list of records."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stylecrafter.data.folder import file_size, read_folder
from stylecrafter.data.records import Found, Kind, Problem, Record, kind_of, printable
from stylecrafter.data.sidecars import CAPTION_KEYS, GROUP_KEYS, SidecarError, text_of
from stylecrafter.data.tables import path_of, read_table
from stylecrafter.data.tar_shards import read_shard
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import expand_home, is_folder, shown


def find_records(path: str | os.PathLike[str]) -> Found:
    """Find pictures and clips with their captions; none is decoded, nothing broken stops the others.

    Args:
        path: A folder, a `.csv`, a `.jsonl`, or a `.tar`.

    Raises:
        InvalidInputError: Missing, or none of these.
    """
    place = expand_home(path)
    try:
        os.stat(place)
    except FileNotFoundError as error:
        raise InvalidInputError(f"{shown(place)}: no such folder or file.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidInputError(f"{shown(place)} cannot be read: {reason}.") from error
    suffix = place.suffix.lower()
    if is_folder(place):
        return read_folder(place)
    if suffix == ".tar":
        return read_shard(place, place.name)
    if suffix in (".csv", ".jsonl"):
        return _read_manifest(place)
    raise InvalidInputError(f"{shown(place)} is no training data: give a folder, a .csv, a .jsonl or a .tar.")


def _read_manifest(file: Path) -> Found:
    found = Found()
    for number, row in read_table(file, found.notes):
        label = f"{printable(file)}:{number}"
        if isinstance(row, str):
            found.problems.append(Problem(label, row))
            continue
        try:
            _add_row(row, file.parent, label, found)
        except SidecarError as error:
            found.problems.append(Problem(label, str(error)))
    _drop_doubles(found)
    return found


def _add_row(row: dict[str, Any], folder: Path, label: str, found: Found) -> None:
    name = path_of(row)
    caption, group, wanted = text_of(row, CAPTION_KEYS), text_of(row, GROUP_KEYS), text_of(row, ("kind",))
    if wanted is not None and wanted not in set(Kind):
        raise SidecarError(f"kind must be {' or '.join(Kind)}, not {wanted!r}")
    kind = Kind(wanted) if wanted is not None else kind_of(name)
    if kind is None:
        raise SidecarError(f"{printable(name)} is neither a picture nor a clip by its ending; add a kind")
    path = folder / expand_home(name)
    size = file_size(path, found, f"{label} {printable(name)}")
    if size is not None:
        found.records.append(
            Record(name=name, path=path, kind=kind, size=size, caption=caption, style_group=group)
        )


def _drop_doubles(found: Found) -> None:
    """A file listed twice with one caption is a slip; with two captions it is two records."""
    seen: dict[tuple[str, str | None], Record] = {}
    for record in found.records:
        if (record.name, record.caption) in seen:
            found.problems.append(Problem(record.name, "listed twice with the same caption; used once"))
        seen.setdefault((record.name, record.caption), record)
    found.records = list(seen.values())
