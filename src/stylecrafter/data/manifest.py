"""Finding training data: a folder, a CSV or JSONL manifest, or WebDataset shards, as one list of records."""

from __future__ import annotations

import os
from pathlib import Path

from stylecrafter.data.folder import read_folder
from stylecrafter.data.records import Found, Problem, Record, file_size, kind_of
from stylecrafter.data.tables import read_table
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
    for row in read_table(file, found):
        kind = row.kind or kind_of(row.name)
        if kind is None:
            reason = f"{shown(row.name)} is neither a picture nor a clip by its ending; add a kind"
            found.problems.append(Problem(row.label, reason))
            continue
        path = file.parent / expand_home(row.name)
        size = file_size(path, found, f"{row.label} {shown(row.name)}")
        if size is not None:
            found.records.append(
                Record(
                    name=row.name,
                    path=path,
                    kind=kind,
                    size=size,
                    caption=row.caption,
                    style_group=row.style_group,
                )
            )
    _drop_doubles(found)
    return found


def _drop_doubles(found: Found) -> None:
    """A file listed twice with one caption is a slip; with two captions it is two records."""
    seen: dict[tuple[str, str | None], Record] = {}
    for record in found.records:
        if (record.name, record.caption) in seen:
            found.problems.append(Problem(record.name, "listed twice with the same caption; used once"))
        seen.setdefault((record.name, record.caption), record)
    found.records = list(seen.values())
