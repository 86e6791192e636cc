"""Rows of CSV and JSONL files that name pictures and clips, every broken one told by its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylecrafter.data.records import Found, Kind, Problem, kind_of
from stylecrafter.data.sidecars import CAPTION_KEYS, GROUP_KEYS, SidecarError, plain_text, text_of
from stylecrafter.errors import InvalidInputError
from stylecrafter.media.documents import parse_json, read_bytes, shown

PATH_KEYS = ("path", "file_name", "file")
"""Columns or keys that name the file, the first that is there; `file_name` is what Hugging Face's folders use."""
MAX_TABLE_BYTES = 2**30
"""Some ten million rows; more of them go into several files."""
_KNOWN = (*PATH_KEYS, *CAPTION_KEYS, *GROUP_KEYS, "kind")
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

#: Number of the line that a row begins in, and the row, or why it cannot be used.
Line = tuple[int, dict[str, Any] | str]


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says of a file; `label` is the place of the row, for messages."""

    label: str
    name: str
    caption: str | None
    style_group: str | None
    kind: Kind | None


def read_table(file: Path, found: Found) -> Iterator[Row]:
    """The rows of a `.csv` or `.jsonl`, told by its ending; those that cannot be used become problems of `found`.

    What is worth telling of the whole file becomes a note of `found`, once all rows are read.

    Raises:
        InvalidInputError: It cannot be read, is too large, is UTF-16, or names no columns; before the first row.
    """
    for number, row in _lines(file, found.notes):
        label = f"{shown(file)}:{number}"
        try:
            if isinstance(row, str):
                raise SidecarError(row)
            name, wanted = _path_of(row), text_of(row, ("kind",))
            caption, group = text_of(row, CAPTION_KEYS), text_of(row, GROUP_KEYS)
            if wanted is not None and wanted not in set(Kind):
                raise SidecarError(f"kind must be {' or '.join(Kind)}, not {wanted!r}")
        except SidecarError as error:
            found.problems.append(Problem(label, str(error)))
            continue
        yield Row(label, name, caption, group, None if wanted is None else Kind(wanted))


def _lines(file: Path, notes: list[str]) -> Iterator[Line]:
    data = read_bytes(file, limit=MAX_TABLE_BYTES)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InvalidInputError(f"{shown(file)} is UTF-16; save it as UTF-8.")
    # Bytes that are not UTF-8 come out as lone surrogates and are refused in the line that holds them.
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = io.StringIO(text, newline="").readlines()
    rows = _csv_rows(file, lines, notes) if file.suffix.lower() == ".csv" else _json_rows(file, lines)
    return _noting_unused(rows, file, notes)


def _path_of(row: dict[str, Any]) -> str:
    """The file that a row names.

    Raises:
        SidecarError: None, or an address.
    """
    for key in PATH_KEYS:
        # White space inside belongs to the name.
        name = (plain_text(row, key) or "").strip()
        if name:
            break
    else:
        raise SidecarError(f"no path (looked for {', '.join(PATH_KEYS)})")
    if "://" in name:
        raise SidecarError(f"{shown(name)} is an address, not a file; download it first")
    return name


def _noting_unused(rows: Iterator[Line], file: Path, notes: list[str]) -> Iterator[Line]:
    unused: set[str] = set()
    for number, row in rows:
        if isinstance(row, dict):
            # The first column of what pandas writes has no name.
            unused |= {str(key) for key in row if key and key not in _KNOWN}
        yield number, row
    if unused:
        notes.append(f"{shown(file)}: not used: {shown(', '.join(sorted(unused)))}")


def _csv_rows(file: Path, lines: list[str], notes: list[str]) -> Iterator[Line]:
    header, delimiter = _header(file, lines)
    if delimiter != ",":
        notes.append(f"{shown(file)}: read as columns between {_DELIMITERS[delimiter]}")
    return _csv_lines(lines, header, delimiter)


def _csv_lines(lines: list[str], header: list[str], delimiter: str) -> Iterator[Line]:
    begin = 1
    while begin < len(lines):
        begin = yield from _csv_lines_from(begin, lines, header, delimiter)


def _csv_lines_from(
    first: int, lines: list[str], header: list[str], delimiter: str
) -> Generator[Line, None, int]:
    """Rows from a line on, up to a quote that is not closed; returns the line to go on with."""
    reader = csv.reader((lines[i] for i in range(first, len(lines))), delimiter=delimiter, strict=True)
    begin = first
    for fields in _guarded(reader):
        end = first + reader.line_num
        broken = isinstance(fields, csv.Error)
        if end - begin > 1 and (broken or _swallows(lines[begin + 1 : end], delimiter)):
            yield (
                begin + 1,
                'a quote (") opens in this line and is not closed where its field ends; close it, or double those '
                "inside a caption",
            )
            # The lines behind it were taken for a part of the field.
            return begin + 1
        if isinstance(fields, csv.Error):
            yield begin + 1, _csv_reason(fields)
        elif len(fields) > len(header):
            yield (
                begin + 1,
                f"more fields than the {len(header)} columns; put quotes around a caption with commas",
            )
        elif fields:
            yield begin + 1, dict(zip(header, fields, strict=False))
        begin = end
    return len(lines)


def _guarded(reader: Any) -> Iterator[list[str] | csv.Error]:
    """The rows, and what is wrong with those that are not CSV: a reader goes on behind them."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _header(file: Path, lines: list[str]) -> tuple[list[str], str]:
    """The names of the columns, and what stands between them."""
    first = lines[0] if lines else ""
    for delimiter in _DELIMITERS:
        try:
            cells = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        except csv.Error as error:
            raise InvalidInputError(f"{shown(file)}: the first line is not CSV: {error}.") from error
        names = [cell.strip() for cell in cells]
        if set(names) & set(PATH_KEYS):
            twice = sorted({name for name in names if names.count(name) > 1 and name in _KNOWN})
            if twice:
                raise InvalidInputError(f"{shown(file)}: two columns are called {twice[0]}.")
            return names, delimiter
    found = shown(", ".join(cell.strip() for cell in first.split(","))) or "nothing"
    raise InvalidInputError(
        f"{shown(file)}: the first line must name the columns, among them path; found {found}."
    )


def _swallows(inner: list[str], delimiter: str) -> bool:
    """Whether lines inside a field are rows of their own: a caption names no file in a field of its own."""
    return any(
        kind_of(cell.strip(' "\r\n')) is not None for line in inner for cell in line.split(delimiter)[:-1]
    )


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return 'a quote (") opens in this line and is never closed'
    if "expected after" in str(error):
        return 'a quote (") closes in the middle of a field; double those inside a caption'
    return f"not CSV: {error}"


def _json_rows(file: Path, lines: list[str]) -> Iterator[Line]:
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("[") and not first.rstrip().endswith("]"):
        raise InvalidInputError(f"{shown(file)} holds one json list; a .jsonl has an object in every line.")
    return _json_objects(lines)


def _json_objects(lines: list[str]) -> Iterator[Line]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, "the line", error=SidecarError)
        except SidecarError as error:
            yield number, str(error).rstrip(".")
            continue
        yield number, row if isinstance(row, dict) else f"must be a json object, not {type(row).__name__}"
