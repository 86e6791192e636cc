"""What a run finds in its folder, and what it leaves there when it is refused, fails or is killed."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from stylecrafter.errors import InvalidInputError, MissingDependencyError, OutputError
from stylecrafter.runtime.locks import only_one
from stylecrafter.training.checkpoint import list_checkpoints, load_checkpoint
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.recipe_run import OnStep, RecipeRun
from tests.training.short_run import SHORT

STEPS = 4
QUICK = [
    *SHORT,
    f"stages.autoencoder.train.steps={STEPS}",
    "stages.autoencoder.train.log_every=1",
    "stages.autoencoder.train.checkpoint_minutes=5",
]
PRECIOUS = "recipe.yaml"


class Killed(BaseException):
    """Ends a run in the middle, as SIGKILL does: nobody catches it to clean up."""


def new_run(folder: Path, *changes: str) -> RecipeRun:
    return RecipeRun(load_recipe("smoke", [*QUICK, *changes]), folder)


def train(folder: Path, *changes: str, resume: bool = False, on_step: OnStep | None = None) -> bool:
    return new_run(folder, *changes).run(until="autoencoder", resume=resume, on_step=on_step)


def killed_at(step: int) -> OnStep:
    def kill(stage: str, now: int, steps: int, loss: float) -> None:
        if now == step:
            raise Killed

    return kill


def stopped_at(step: int) -> OnStep:
    def stop(stage: str, now: int, steps: int, loss: float) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return stop


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path, losses without the speed of their steps, but for checkpoints."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.name == "losses.csv":
                data = b"\n".join(line.rpartition(b",")[0] for line in data.splitlines())
            found[str(path.relative_to(folder))] = b"" if path.suffix == ".pt" else data
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder)
    return folder


def test_a_finished_stage_keeps_its_last_checkpoint_alone(whole: Path, tmp_path: Path) -> None:
    assert train(tmp_path, "stages.autoencoder.train.checkpoint_minutes=0")
    assert [path.name for path in list_checkpoints(tmp_path / "autoencoder")] == ["checkpoint-00000004.pt"]
    assert {k: v for k, v in contents(tmp_path).items() if k != PRECIOUS} == {
        k: v for k, v in contents(whole).items() if k != PRECIOUS
    }


@pytest.mark.parametrize("resume", [True, False])
def test_killed_before_the_first_checkpoint_it_begins_again(
    whole: Path, tmp_path: Path, resume: bool
) -> None:
    with pytest.raises(Killed):
        train(tmp_path, on_step=killed_at(3))
    assert (tmp_path / PRECIOUS).is_file() and (tmp_path / "autoencoder" / "losses.csv").is_file()
    assert train(tmp_path, resume=resume)
    assert contents(tmp_path) == contents(whole)


def test_another_recipe_may_begin_where_nothing_was_saved(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path, "name=other", "seed=7", on_step=killed_at(3))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "samples").mkdir()
    (tmp_path / "base" / "samples" / "samples-00000002.png").write_bytes(b"half")
    (tmp_path / "mine").mkdir()
    assert train(tmp_path)
    (tmp_path / "mine").rmdir()
    assert contents(tmp_path) == contents(whole)


def test_killed_after_its_last_checkpoint_it_ends_as_without(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("stylecrafter.training.recipe_run.write_atomic", kill)
        train(tmp_path)
    assert train(tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole)


def test_a_refused_start_leaves_the_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    for folder in (tmp_path / "new", tmp_path):
        with pytest.raises(InvalidInputError, match="wandb is not installed"):
            train(folder, "trackers=[wandb]")
    assert not list(tmp_path.iterdir())
    with pytest.raises(Killed):
        train(tmp_path, on_step=killed_at(1))
    with pytest.raises(InvalidInputError, match="wandb is not installed"):
        train(tmp_path, "trackers=[wandb]")
    assert [path.name for path in tmp_path.iterdir()] == [PRECIOUS]


def test_refused_changes_leave_the_recipe_as_it_was(whole: Path, tmp_path: Path) -> None:
    assert train(tmp_path, on_step=stopped_at(2)) is False
    before = contents(tmp_path)
    for change, says in (
        ("data.pictures.batch_size=3", "batch_size was 2, is 3"),
        ("stages.autoencoder.train.steps=1", "beyond the 1 steps"),
        ("name=other", "of the recipe 'smoke', not of 'other'"),
        ("trackers=[wandb]", "wandb"),
    ):
        with (
            pytest.MonkeyPatch.context() as patched,
            pytest.raises((InvalidInputError, MissingDependencyError)) as e,
        ):
            patched.setitem(sys.modules, "wandb", None)
            train(tmp_path, change, resume=True)
        assert says in str(e.value) or says == "wandb"
        assert contents(tmp_path) == before, change
    assert train(tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole)


def test_what_was_changed_is_said_and_written_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert train(tmp_path, on_step=stopped_at(2)) is False
    assert train(tmp_path, "stages.autoencoder.train.steps=3", resume=True)
    assert "(stages.autoencoder.train.steps 4 -> 3, " in caplog.text
    assert not new_run(tmp_path, "stages.autoencoder.train.steps=3").holds_another()
    assert new_run(tmp_path).holds_another()


def test_captions_by_their_name_of_before_are_no_change(whole: Path) -> None:
    run = new_run(whole)
    assert not run.holds_another()
    record = whole / "recipe.yaml"
    now = record.read_text()
    try:
        record.write_text(now.replace("captions: keep", "captions: full"))
        assert record.read_text() != now and not run.holds_another()
    finally:
        record.write_text(now)


def test_a_run_that_was_begun_is_not_begun_again(whole: Path) -> None:
    before = contents(whole)
    for changes in ((), ("name=other",)):
        with pytest.raises(OutputError, match="holds a run already: --resume"):
            train(whole, *changes)
    assert contents(whole) == before


def test_one_process_at_a_time(whole: Path, tmp_path: Path) -> None:
    for folder, resume in ((whole, True), (tmp_path / "new", False)):
        with only_one(folder, "run"), pytest.raises(OutputError, match="another run is at work in"):
            train(folder, resume=resume)
    assert not (tmp_path / "new").exists()


def test_litter_of_killed_processes_goes(whole: Path, tmp_path: Path) -> None:
    assert train(tmp_path, on_step=stopped_at(2)) is False
    stage = tmp_path / "autoencoder"
    (stage / "samples").mkdir()
    for name in (
        ".recipe.yaml.0123abcd.part", "autoencoder/.weights.safetensors.0123abcd.part", "autoencoder/losses.tmp",
        "autoencoder/checkpoint-00000003.pt.tmp", "autoencoder/.checkpoint-00000003.pt.0123abcd.part",
        "autoencoder/samples/.samples-00000002.png.0123abcd.part", "autoencoder/samples/samples-00000003.png",
    ):  # fmt: skip
        (tmp_path / name).write_bytes(b"half")
    for name in (".model.0123abcd.part", ".clip_model.0123abcd.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{")
    with (stage / "losses.csv").open("a") as file:
        file.write("3,0.1")
    mine = [tmp_path / "notes.txt", stage / "notes.tmp", stage / ".mine.part"]
    for path in mine:
        path.write_text("precious")
    assert train(tmp_path, resume=True)
    for path in mine:
        path.unlink()
    assert contents(tmp_path) == contents(whole)
    assert {path.name for path in tmp_path.iterdir()} == {PRECIOUS, "autoencoder"}


def test_a_damaged_newest_checkpoint_costs_only_the_steps_since_the_one_before(
    whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(tmp_path, "stages.autoencoder.train.checkpoint_minutes=0", on_step=killed_at(4))
    newest = list_checkpoints(tmp_path / "autoencoder")[-1]
    newest.write_bytes(newest.read_bytes()[:-5000])
    assert train(tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole)
    assert load_checkpoint(list_checkpoints(tmp_path / "autoencoder")[-1])["step"] == STEPS


@pytest.mark.parametrize("content", ["", "[1, 2", "\0\1"])
def test_a_damaged_record_is_written_anew(
    whole: Path, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert train(tmp_path, on_step=stopped_at(2)) is False
    (tmp_path / PRECIOUS).write_text(content)
    with pytest.raises(OutputError, match="holds a run already"):
        train(tmp_path)
    assert train(tmp_path, resume=True)
    assert contents(tmp_path) == contents(whole)
    assert f"{tmp_path / PRECIOUS} cannot be read; it is written anew" in caplog.text


@pytest.mark.parametrize("content", ["# mine\nname: smoke\n", "[1, 2", "- a\n", "\xff"])
def test_a_recipe_of_one_s_own_in_the_folder_stays(tmp_path: Path, content: str) -> None:
    (tmp_path / PRECIOUS).write_text(content, encoding="latin-1")
    with pytest.raises(OutputError, match="was not written by a run|is not UTF-8"):
        train(tmp_path)
    assert contents(tmp_path) == {PRECIOUS: content.encode("latin-1")}


def test_an_empty_record_is_no_obstacle(whole: Path, tmp_path: Path) -> None:
    (tmp_path / PRECIOUS).write_text("")
    assert train(tmp_path)
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_goes_away_ends_the_run_in_words(tmp_path: Path, replaced: bool) -> None:
    folder = tmp_path / "run"

    def remove(stage: str, now: int, steps: int, loss: float) -> None:
        if now == 2:
            folder.rename(tmp_path / "moved")
            if replaced:
                folder.mkdir()

    with pytest.raises(OutputError, match="removed or replaced while the run was at work"):
        train(folder, on_step=remove)
    assert (tmp_path / "moved" / PRECIOUS).is_file() and not list_checkpoints(folder / "autoencoder")


def test_places_where_nothing_can_be_written_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "run" / "autoencoder").parent.mkdir()
    (tmp_path / "run" / "autoencoder").write_text("precious")
    (tmp_path / "other" / "model").mkdir(parents=True)
    (tmp_path / "other" / "model" / "mine.txt").write_text("precious")
    before = contents(tmp_path)
    for name, says in (
        ("file", "is a file; a run needs a folder"),
        ("file/inside", "cannot use the folder"),
        ("x" * 300, "cannot use the folder"),
        ("run", "the stage 'autoencoder' needs a folder of that name"),
    ):
        with pytest.raises(OutputError, match=says):
            train(tmp_path / name)
    with pytest.raises(OutputError, match="lies where the model is to go"):
        new_run(tmp_path / "other").run()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("at", [1, 2, 4, 6])
def test_a_full_disk_at_any_file_is_told_and_gone_on_from(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The probe, the record (and its folder), the checkpoint (and its folder), and the weights."""
    count = 0
    flush = os.fsync

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count >= at:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    with monkeypatch.context() as patched, pytest.raises(OutputError, match="(?i)no space left"):
        patched.setattr(os, "fsync", full)
        train(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert train(tmp_path, resume=at == 6)
    assert contents(tmp_path) == contents(whole)


def test_stages_are_not_named_as_the_folders_of_models(tmp_path: Path) -> None:
    recipe = load_recipe("smoke", QUICK)
    base = next(spec for spec in recipe.stages if spec.stage == "base")
    with pytest.raises(InvalidInputError, match="'model_base' is a folder of the run itself"):
        base.replace(name="model_base")


def test_an_earlier_stage_whose_weights_went_is_trained_again_and_says_so(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert train(tmp_path)
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "weights.safetensors").symlink_to(whole / "autoencoder" / "weights.safetensors")
    (tmp_path / "autoencoder" / "weights.safetensors").unlink()
    assert new_run(tmp_path).run(until="clip", resume=True)
    assert "autoencoder: is trained again, its weights are gone; clip stays" in caplog.text
    one, other = (load_file(f / "autoencoder" / "weights.safetensors") for f in (whole, tmp_path))
    assert all(value.equal(other[name]) for name, value in one.items())


def test_sheets_are_written_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stylecrafter.training.tracking import CsvTracker

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tracker = CsvTracker(tmp_path)
    tracker.log_images({"samples": np.zeros((1, 4, 4, 3), np.uint8)}, 1)
    monkeypatch.setattr(os, "fsync", full)
    for step in (1, 2):
        with pytest.raises(OutputError, match="no space left"):
            tracker.log_images({"samples": np.full((1, 4, 4, 3), 255, np.uint8)}, step)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["samples-00000001.png"]
    assert Image.open(tmp_path / "samples" / "samples-00000001.png").getpixel((0, 0)) == (0, 0, 0)
