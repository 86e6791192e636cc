from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylecrafter.errors import OutputError
from stylecrafter.media import files
from stylecrafter.media.files import atomic_file, atomic_folder, check_writable, remove_parts, write_atomic


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


@pytest.mark.process
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


LEFT = ".a.mp4.0123abcd.part"


def leave_litter(folder: Path) -> None:
    (folder / LEFT).write_bytes(b"half")
    (folder / ".model.89abcdef.part").mkdir()
    (folder / ".model.89abcdef.part" / "weights").write_bytes(b"half")


def test_leftovers_are_removed(tmp_path: Path) -> None:
    leave_litter(tmp_path)
    # What anyone else may have called so.
    others = [".hidden", "mine.part", ".mine.part", ".a.mp4.0123abc.part", ".a.mp4.0123abcd.part.txt"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".link.01234567.part").symlink_to(tmp_path / ".hidden")
    assert remove_parts(tmp_path) == 2
    assert names(tmp_path) == sorted([*others, ".link.01234567.part"])
    assert remove_parts(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("action", [check_writable, lambda path: write_atomic(path, b"x")])
def test_who_writes_into_a_folder_removes_what_was_left_there(tmp_path: Path, action) -> None:  # type: ignore[no-untyped-def]
    leave_litter(tmp_path)
    action(tmp_path / "b.mp4")
    assert set(names(tmp_path)) <= {"b.mp4"}


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.bin") as file, atomic_folder(tmp_path / "model") as folder:
        file.write(b"first")
        (folder / "weights").write_bytes(b"second")
        assert remove_parts(tmp_path) == 0
        write_atomic(tmp_path / "a.bin", b"other")
        check_writable(tmp_path / "a.bin")
    assert names(tmp_path) == ["a.bin", "model"]
    assert (tmp_path / "a.bin").read_bytes() == b"first"
    assert (tmp_path / "model" / "weights").read_bytes() == b"second"


def test_one_that_was_taken_for_left_behind_is_made_anew(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(part: Path) -> None:
        part.touch()
        made.append(part)
        if len(made) == 1:  # another process, before it could be locked
            assert remove_parts(tmp_path) == 1

    with files._held_part(tmp_path / "a.bin", make) as part:
        assert part == made[1] and part.exists()
    assert not names(tmp_path)


@pytest.mark.process
def test_a_killed_process_leaves_what_the_next_one_removes(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from stylecrafter.media.files import atomic_file, atomic_folder\n"
        "path = Path(sys.argv[1])\n"
        "with atomic_folder(path / 'model') as folder, atomic_file(path / 'a.bin') as file:\n"
        "    (folder / 'half').write_text('x'); file.write(bytes(100_000)); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(names(tmp_path)) == 2
    check_writable(tmp_path / "b.bin")
    assert not names(tmp_path)


def test_without_locks_only_what_is_old_counts_as_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    leave_litter(tmp_path)
    os.utime(tmp_path / LEFT, (0, 0))
    write_atomic(tmp_path / "b.bin", b"x")
    assert names(tmp_path) == [".model.89abcdef.part", "b.bin"]


def test_names_as_long_as_a_system_takes(tmp_path: Path) -> None:
    for name in ("x" * 251 + ".mp4", "\N{SNOWMAN}" * 83 + ".mp4"):
        assert write_atomic(tmp_path / name, b"x").read_bytes() == b"x"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "model") as part:
        (part / "weights").write_bytes(b"half")
        raise KeyboardInterrupt
    assert not names(tmp_path)
    (tmp_path / "model").mkdir()
    with atomic_folder(tmp_path / "model") as part:
        (part / "weights").write_bytes(b"all")
        assert not names(tmp_path / "model")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["weights"]
