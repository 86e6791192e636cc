"""Damaged tars: whatever their headers say, what comes before is used and nothing else is lost."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from stylecrafter.data.manifest import find_records
from stylecrafter.data.records import Kind, Record, too_large
from stylecrafter.errors import ImageReadError
from tests.data_sources.support import picture_folder, png_bytes, write_tar


def header(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT)


def block(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def pax(**records: str) -> bytes:
    lines = b""
    for key, value in records.items():
        text = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(text) + 1
        while len(f"{length}".encode() + text) != length:
            length += 1
        lines += f"{length}".encode() + text
    return header("pax", tarfile.XHDTYPE, len(lines)) + block(lines)


def good(name: str) -> bytes:
    return header(name, size=len(png_bytes(1))) + block(png_bytes(1))


BAD = {
    "negative size": pax(size="-1024") + header("x.png", size=512) + block(b"x"),
    "size of no number": pax(size="many") + header("x.png", size=512)[:300],
    "backwards": pax(size="-2048") + header("x.png", size=0),
    "chained pax": pax(path="x.png") * 5000,
    "chained long names": (header("l", tarfile.GNUTYPE_LONGNAME, 5) + block(b"x.png")) * 5000,
    "endless long name": header("l", tarfile.GNUTYPE_LONGNAME, 2**33),
    "endless pax": header("p", tarfile.XHDTYPE, 2**33),
    "pax without length": header("p", tarfile.XHDTYPE, 10) + block(b"xx path=a\n"),
    "pax of length 0": header("p", tarfile.XHDTYPE, 10) + block(b"0 path=a\n"),
    "sparse map": pax(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__name="x.png",
                      GNU__sparse__realsize="99999999999") + header("x.png", size=1024) + block(b"999999999\nx\n"),
    "sparse map of words": pax(GNU__sparse__map="a,b") + header("x.png", size=0),
    "old sparse": header("x.png", tarfile.GNUTYPE_SPARSE, 512)[:386] + b"\xff" * 126,
    "half a header": header("x.png")[:100],
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_member_costs_what_is_behind_it_alone(tmp_path: Path, bad: bytes) -> None:
    picture_folder(tmp_path, 1)
    (tmp_path / "bad.tar").write_bytes(good("1.png") + bad + good("2.png") + b"\0" * 1024)
    write_tar(tmp_path / "good.tar", {"3.png": png_bytes(3), "3.txt": b"a boat"})
    found = find_records(tmp_path)
    kept = {record.name for record in found.records}
    assert {"000.png", "bad.tar:1.png", "good.tar:3.png"} <= kept
    # A header that the library passes over hides nothing of what is behind it.
    assert "bad.tar:2.png" in kept or any("bad.tar" in problem.name for problem in found.problems)
    for record in found.records:
        record.source()


def test_a_bad_member_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(BAD["chained pax"])
    picture_folder(tmp_path, 1)
    found = find_records(tmp_path)
    assert len(found.records) == 1 and "not a tar, or cut in its first member" in found.problems[0].reason


def test_members_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.tar"
    size = 2**33
    with open(file, "wb") as tar:
        tar.write(header("huge.png", size=size))
        tar.seek(512 + size)
        tar.write(good("ok.png") + b"\0" * 1024)
    found = find_records(file)
    assert [record.name for record in found.records] == ["large.tar:ok.png"]
    assert (
        "too large: 8,589,934,592 bytes; the limit inside a tar is 1,073,741,824" in found.problems[0].reason
    )
    record = Record(name="huge.png", path=file, kind=Kind.PICTURE, size=size, offset=512)
    with pytest.raises(ImageReadError, match="too large"):
        record.source()
    assert too_large(Kind.PICTURE, 2**30) is None and too_large(Kind.CLIP, 2**31) is None


def test_captions_inside_are_as_those_beside_files(tmp_path: Path) -> None:
    members = {
        "1.png": png_bytes(1), "1.txt": b"", "1.caption": b"a boat", "1.json": b"[",
        "2.png": png_bytes(2), "2.txt": b"a dog", "2.json": b"{" + b" " * 2**21,
        "3.png": png_bytes(3), "3.png.txt": b"its own", "3.txt": b"of the stem",
        "4.png": png_bytes(4), "4.txt": b"",
    }  # fmt: skip
    found = find_records(write_tar(tmp_path / "s.tar", members))
    assert [record.caption for record in found.records] == ["a boat", "a dog", "its own"]
    assert [problem.reason for problem in found.problems] == ["the caption file is empty"]
    assert sum("beside another caption" in note for note in found.notes) == 2


def test_names_that_no_report_can_show(tmp_path: Path) -> None:
    file = tmp_path / "s.tar"
    with tarfile.open(file, "w", errors="surrogateescape") as tar:
        for name in ("bad\udcff.png", "esc\x1b[31m.txt"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    for problem in find_records(file).problems:
        assert problem.name.isprintable() and problem.name.encode()
