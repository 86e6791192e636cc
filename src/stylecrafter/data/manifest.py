"""Finding training data: a folder, a CSV or JSONL manifest, or WebDataset shards, as one list of records."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stylecrafter.data.folder import file_size, read_folder
from stylecrafter.data.records import Found, Kind, Problem, Record, kind_of
from stylecrafter.data.shards import read_shard
from stylecrafter.data.sidecars import CAPTION_KEYS, GROUP_KEYS, SidecarError, text_of
from stylecrafter.errors import InvalidInputError

PATH_KEYS = ("path", "file_name", "file")
"""Columns or keys that name the file, the first that is there; `file_name` is what Hugging Face's folders use."""
_KNOWN = (*PATH_KEYS, *CAPTION_KEYS, *GROUP_KEYS, "kind")


def find_records(path: str | os.PathLike[str]) -> Found:
    """Find pictures and clips with their captions; none is decoded, nothing broken stops the others.

    Args:
        path: A folder, a `.csv`, a `.jsonl`, or a `.tar`.

    Raises:
        InvalidInputError: Missing, or none of these.
    """
    place = _expanded(path)
    if not place.exists():
        raise InvalidInputError(f"{place}: no such folder or file.")
    suffix = place.suffix.lower()
    if place.is_dir():
        found = read_folder(place)
    elif suffix == ".tar":
        found = read_shard(place, place.name)
    elif suffix in (".csv", ".jsonl"):
        found = _read_manifest(place, suffix)
    else:
        raise InvalidInputError(f"{place} is no training data: give a folder, a .csv, a .jsonl or a .tar.")
    return found


def _read_manifest(file: Path, suffix: str) -> Found:
    found = Found()
    if not file.is_file():  # reading a pipe would wait for ever
        raise InvalidInputError(f"{file} is not a plain file.")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror or error}.") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InvalidInputError(f"{file} is UTF-16; save it as UTF-8.")
    # Bytes that are not UTF-8 come out as lone surrogates and are refused in the line that holds them.
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    unused: set[str] = set()
    lines = _csv_rows(file, text) if suffix == ".csv" else _json_rows(text)
    for number, row in lines:
        label = f"{file}:{number}"
        if isinstance(row, str):
            found.problems.append(Problem(label, row))
            continue
        unused |= {key for key in row if key not in _KNOWN}
        try:
            _add_row(row, file.parent, label, found)
        except SidecarError as error:
            found.problems.append(Problem(label, str(error)))
    if unused:
        found.notes.append(f"{file}: not used: {', '.join(sorted(unused))}")
    _drop_doubles(found)
    return found


def _add_row(row: dict[str, Any], folder: Path, label: str, found: Found) -> None:
    name = text_of(row, PATH_KEYS)
    if name is None:
        raise SidecarError(f"no path (looked for {', '.join(PATH_KEYS)})")
    if "://" in name:
        raise SidecarError(f"{name} is an address, not a file; download it first")
    caption, group, wanted = text_of(row, CAPTION_KEYS), text_of(row, GROUP_KEYS), text_of(row, ("kind",))
    if wanted is not None and wanted not in set(Kind):
        raise SidecarError(f"kind must be {' or '.join(Kind)}, not {wanted!r}")
    kind = Kind(wanted) if wanted is not None else kind_of(name)
    if kind is None:
        raise SidecarError(f"{name} is neither a picture nor a clip by its ending; add a kind")
    path = folder / _expanded(name)
    size = file_size(path, found, f"{label} {name}")
    if size is not None:
        found.records.append(
            Record(name=name, path=path, kind=kind, size=size, caption=caption, style_group=group)
        )


def _expanded(path: str | os.PathLike[str]) -> Path:
    """With a home folder for "~"; a name that only begins so ("~$draft.png") is taken as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _drop_doubles(found: Found) -> None:
    """A file listed twice with one caption is a slip; with two captions it is two records."""
    seen: dict[tuple[str, str | None], Record] = {}
    for record in found.records:
        if (record.name, record.caption) in seen:
            found.problems.append(Problem(record.name, "listed twice with the same caption; used once"))
        seen.setdefault((record.name, record.caption), record)
    found.records = list(seen.values())


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        header = reader.fieldnames or []
    except csv.Error as error:
        raise InvalidInputError(f"{file}: the first line is not CSV: {error}.") from error
    if not set(header) & set(PATH_KEYS):
        raise InvalidInputError(
            f"{file}: the first line must name the columns, among them path; found {', '.join(header) or 'nothing'}."
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, f"not CSV: {error}"
            continue
        if row.pop(None, None) is not None:
            yield (
                reader.line_num,
                f"more fields than the {len(header)} columns; put quotes around a caption with commas",
            )
        else:
            yield reader.line_num, row


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"not json: {error}"
            continue
        yield number, row if isinstance(row, dict) else f"must be a json object, not {type(row).__name__}"
