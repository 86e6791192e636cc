"""What a run reports reaches its trackers, once."""

from __future__ import annotations

import csv
import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from stylecrafter.errors import MissingDependencyError, OutputError, UnknownNameError
from stylecrafter.training.processes import make_accelerator
from stylecrafter.training.tracking import CsvTracker, begun, forget_after, log_picture, make_trackers

#: Of an image in a batch of one.
PICTURE = np.zeros((1, 4, 4, 3), np.uint8)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_and_pictures_are_kept(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path / "run")
    tracker.log({"loss": 0.5, "learning_rate": 1e-3}, 1)
    tracker.log({"loss": 0.25}, 2)
    tracker.log_images({"samples": PICTURE}, 2)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path / "run")] == [("1", "0.5"), ("2", "0.25")]
    assert (tmp_path / "run" / "samples" / "samples-00000002.png").is_file()


def test_resuming_forgets_what_comes_after_and_torn_lines(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    tracker.forget_after(5)  # nothing yet
    for step in range(1, 5):
        tracker.log({"loss": step / 2}, step)
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("5,2.")
    tracker.forget_after(3)
    tracker.log({"loss": 9.0}, 4)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3", "4"]
    assert rows(tmp_path)[-1]["loss"] == "9"


@pytest.mark.parametrize("text", ["", "st", "step,loss,learning_rate,gradient_norm,steps_per_second"])
def test_a_file_without_a_line_is_no_obstacle(text: str, tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text(text)
    tracker = CsvTracker(tmp_path)
    tracker.forget_after(3)
    tracker.log({"loss": 9.0}, 4)
    assert [row["step"] for row in rows(tmp_path)] == ["4"]


def test_a_run_that_begins_again_begins_with_nothing(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    tracker.log({"loss": 0.5}, 1)
    tracker.log_images({"samples": PICTURE}, 1)
    events = tmp_path / "tensorboard" / "events.out.tfevents.1"
    events.parent.mkdir()
    events.write_bytes(b"")
    mine = tmp_path / "samples" / "mine.png"
    mine.write_bytes(b"precious")
    forget_after(tmp_path, 0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    mine.unlink()
    tracker.forget_after(0)
    assert not list(tmp_path.iterdir())


def test_pictures_after_the_step_are_forgotten(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    for step in (2, 4):
        tracker.log_images({"samples": PICTURE}, step)
    tracker.forget_after(3)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["samples-00000002.png"]


def test_losses_of_anyone_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("epoch,mse\n1,0.5\n")
    with pytest.raises(OutputError, match="is no file of losses.*'epoch,mse'"):
        forget_after(tmp_path, 0)
    assert (tmp_path / "losses.csv").read_text() == "epoch,mse\n1,0.5\n"


def reporting(names: list[str], folder: Path) -> Accelerator:
    return make_accelerator(torch.device("cpu"), folder, make_trackers(names, folder))


def test_weights_and_biases_hears_of_a_run_when_there_is_something_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    fake = types.ModuleType("wandb")
    fake.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    fake.init = lambda **options: told.append(options["id"]) or types.SimpleNamespace(log=hear)  # type: ignore[attr-defined]
    fake.Image = lambda picture: picture.shape  # type: ignore[attr-defined]

    def hear(values: dict[str, object], step: int) -> None:
        told.append((step, values))

    monkeypatch.setitem(sys.modules, "wandb", fake)
    accelerator = reporting(["wandb"], tmp_path / "run" / "base")
    assert not told
    begun(accelerator, 1).log({"loss": 0.5}, step=1)
    log_picture(begun(accelerator, 1), "samples", Image.new("RGB", (4, 2)), 2)
    assert told == ["run-base", (1, {"loss": 0.5}), (2, {"samples": [(2, 4, 3)]})]


def test_tensorboard_gets_numbers_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'train' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accelerator = reporting(["tensorboard"], tmp_path)
    begun(accelerator, 1).log({"loss": 0.5}, step=3)
    log_picture(accelerator, "samples", Image.new("RGB", (4, 4)), 3)
    for tracker in accelerator.trackers:
        tracker.finish()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]
    assert events.Tags()["images"] == ["samples"]
    assert rows(tmp_path)[0]["step"] == "3"
    assert (tmp_path / "samples" / "samples-00000003.png").is_file()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_says_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        make_trackers([name], tmp_path)


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="tensorboard"):
        make_trackers(["tensorbord"], tmp_path)
