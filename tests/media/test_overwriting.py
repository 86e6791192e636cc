from __future__ import annotations

import os
from pathlib import Path

import pytest

from stylecrafter.errors import OutputError
from stylecrafter.media.overwriting import refuse_overwriting


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "s.png"
    path.write_bytes(b"precious")
    monkeypatch.chdir(tmp_path / "in")
    return path


def same(tmp_path: Path, way: str) -> str:
    """Another name of the picture."""
    other = tmp_path / "other.png"
    if way == "link":
        other.symlink_to("in/s.png")
    elif way == "link of a link":
        (tmp_path / "first.png").symlink_to("in/s.png")
        other.symlink_to("first.png")
    elif way == "hard link":
        os.link(tmp_path / "in" / "s.png", other)
    elif way == "folder":
        (tmp_path / "way").symlink_to("in")
        return str(tmp_path / "way" / "s.png")
    else:
        return way
    return str(other)


@pytest.mark.parametrize(
    "way", ["s.png", "./s.png", "../in/s.png", "link", "link of a link", "hard link", "folder"]
)
def test_one_file_by_any_name(picture: Path, tmp_path: Path, way: str) -> None:
    other = same(tmp_path, way)
    for output, given in ((other, picture), (picture, other)):
        with pytest.raises(OutputError, match="which is read for it; name another file"):
            refuse_overwriting(["new.mp4", output], ["missing.png", given])
        with pytest.raises(OutputError, match="which is read for it"):
            refuse_overwriting([output], [], [tmp_path / "in"])


def test_other_files_are_nobodys_business(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.png").write_bytes(picture.read_bytes())
    refuse_overwriting([tmp_path / "copy.png", "new.mp4"], [picture], [tmp_path / "in"])
    refuse_overwriting(["new.mp4"], ["new.mp4"])  # the input is not there, which others say better
    refuse_overwriting(["x" * 300, "a\0b"], ["x" * 300, "a\0b"], ["x" * 300])
    refuse_overwriting([picture], [tmp_path / "in"])  # a folder where a file was meant
