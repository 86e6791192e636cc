"""A model folder is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylecrafter.errors import OutputError
from stylecrafter.weights.saving import check_new_folder, save_whole


def fill(part: Path) -> None:
    (part / "weights").write_text("all")


@pytest.mark.parametrize("before", ["nothing", "empty", "link to empty"])
def test_it_is_written_where_nothing_is(tmp_path: Path, before: str) -> None:
    target = tmp_path / "model"
    if before == "empty":
        target.mkdir()
    elif before == "link to empty":
        (tmp_path / "real").mkdir()
        target.symlink_to("real")
    (tmp_path / ".model.0123abcd.part").mkdir()
    assert save_whole(target, fill) == target
    assert (target / "weights").read_text() == "all"
    assert not list(tmp_path.glob(".*"))


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name, says in (
        ("full", "not empty"),
        ("file", "is a file"),
        ("file/in", "cannot write"),
        ("a\0b", "cannot"),
    ):
        with pytest.raises(OutputError, match=says):
            check_new_folder(tmp_path / name)
        with pytest.raises(OutputError, match=says):
            save_whole(tmp_path / name, fill)
    assert (tmp_path / "full" / "mine").read_text() == (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(28, "No space left on device"), OutputError),
        (Exception("No space left on device (os error 28)"), OutputError),  # as tokenizers says it
        (TypeError("a fault of our own"), TypeError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_leaves_nothing(tmp_path: Path, error: BaseException, shown: type[BaseException]) -> None:
    def fail(part: Path) -> None:
        (part / "half").write_text("")
        raise error

    with pytest.raises(shown):
        save_whole(tmp_path / "model", fail)
    assert not list(tmp_path.iterdir())


def test_a_mount_point_is_refused_before_the_work() -> None:
    mounted = Path("/dev/shm")
    if not mounted.is_mount() or any(mounted.iterdir()):
        pytest.skip("there is no empty mount point here")
    with pytest.raises(OutputError, match="mount point"):
        check_new_folder(mounted)
