from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylecrafter.errors import OutputError
from stylecrafter.media.files import check_writable, remove_parts, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.bin"
    assert write_atomic(path, b"one") == path
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["a.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be replaced there")
def test_who_reads_the_old_file_reads_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old" * 1000)
    with open(path, "rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old" * 1000
    assert path.read_bytes() == b"new"


def test_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"")
    path.chmod(0o640)
    write_atomic(path, b"x")
    assert path.stat().st_mode & 0o777 == 0o640
    umask = os.umask(0)
    os.umask(umask)
    write_atomic(tmp_path / "b.bin", b"x")
    assert (tmp_path / "b.bin").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to("real.bin")
    write_atomic(tmp_path / "link.bin", b"new")
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == b"new"


@pytest.mark.parametrize("action", [check_writable, lambda path: write_atomic(path, b"x")])
def test_places_that_take_no_file(tmp_path: Path, action) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "a.mp4", tmp_path / ("x" * 300 + ".mp4"), Path("a\0b")):
        with pytest.raises(OutputError) as caught:
            action(place)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(OutputError, match="not a plain file"):
        write_atomic("/dev/full", b"x")
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(sys.platform == "win32", reason="folder permissions work differently there")
def test_folder_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # The administrator may write everywhere but into the kernel's own file system.
        folder = Path("/proc/self")
        if not folder.exists():
            pytest.skip("there is no folder that the administrator cannot write to")
    else:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot write"):
        check_writable(folder / "a.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a Unix feature")
@pytest.mark.parametrize("call", ["write_atomic({path!r}, bytes(200_000))", "check_writable({path!r})"])
def test_no_room_leaves_the_old_file(tmp_path: Path, call: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"precious")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from stylecrafter.errors import OutputError\n"
        "from stylecrafter.media.files import check_writable, write_atomic\n"
        f"try: {call.format(path=str(path))}\n"
        "except OutputError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write" in result.stdout and "too large" in result.stdout
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["a.bin"]


def test_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.mp4.0123abcd.part").write_bytes(b"half")
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "mine.part").write_bytes(b"")
    assert remove_parts(tmp_path) == 1
    assert names(tmp_path) == [".hidden", "mine.part"]
