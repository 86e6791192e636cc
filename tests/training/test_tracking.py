"""What a run reports reaches its trackers, once."""

from __future__ import annotations

import csv
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from stylecrafter.errors import MissingDependencyError, OutputError, UnknownNameError
from stylecrafter.training.tracking import CsvTracker, TensorBoardTracker, make_trackers


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_and_pictures_are_kept(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path / "run")
    tracker.log(1, {"loss": 0.5, "learning_rate": 1e-3})
    tracker.log(2, {"loss": 0.25})
    tracker.picture(2, "samples", Image.new("RGB", (4, 4)))
    assert [(row["step"], row["loss"]) for row in rows(tmp_path / "run")] == [("1", "0.5"), ("2", "0.25")]
    assert (tmp_path / "run" / "samples" / "samples-00000002.png").is_file()


def test_resuming_forgets_what_comes_after_and_torn_lines(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    tracker.resume(5)  # nothing yet
    for step in range(1, 5):
        tracker.log(step, {"loss": step / 2})
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("5,2.")
    tracker.resume(3)
    tracker.log(4, {"loss": 9.0})
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3", "4"]
    assert rows(tmp_path)[-1]["loss"] == "9"


@pytest.mark.parametrize("text", ["", "st", "step,loss,learning_rate,gradient_norm,steps_per_second"])
def test_a_file_without_a_line_is_no_obstacle(text: str, tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text(text)
    tracker = CsvTracker(tmp_path)
    tracker.resume(3)
    tracker.log(4, {"loss": 9.0})
    assert [row["step"] for row in rows(tmp_path)] == ["4"]


def test_a_run_that_begins_again_begins_with_nothing(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    tracker.log(1, {"loss": 0.5})
    tracker.picture(1, "samples", Image.new("RGB", (4, 4)))
    events = tmp_path / "tensorboard" / "events.out.tfevents.1"
    events.parent.mkdir()
    events.write_bytes(b"")
    mine = tmp_path / "samples" / "mine.png"
    mine.write_bytes(b"precious")
    tracker.resume(0)
    TensorBoardTracker.forget(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    mine.unlink()
    tracker.resume(0)
    assert not list(tmp_path.iterdir())


def test_pictures_after_the_step_are_forgotten(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    for step in (2, 4):
        tracker.picture(step, "samples", Image.new("RGB", (4, 4)))
    tracker.resume(3)
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["samples-00000002.png"]


def test_losses_of_anyone_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("epoch,mse\n1,0.5\n")
    with pytest.raises(OutputError, match="is no file of losses.*'epoch,mse'"):
        CsvTracker(tmp_path).resume(0)
    assert (tmp_path / "losses.csv").read_text() == "epoch,mse\n1,0.5\n"


def test_weights_and_biases_hears_of_a_run_when_there_is_something_to_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    fake = types.SimpleNamespace(
        init=lambda **options: begun.append(options["id"]) or types.SimpleNamespace(log=lambda *_, **__: None)
    )
    monkeypatch.setitem(sys.modules, "wandb", fake)
    tracker = make_trackers(["wandb"], tmp_path / "run" / "base")
    tracker.resume(0)
    tracker.close()
    assert not begun
    tracker.log(1, {"loss": 0.5})
    assert begun == ["run-base"]


def test_tensorboard_gets_numbers_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'train' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = make_trackers(["tensorboard"], tmp_path)
    tracker.log(3, {"loss": 0.5})
    tracker.picture(3, "samples", Image.new("RGB", (4, 4)))
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 0.5)]
    assert events.Tags()["images"] == ["samples"]
    assert rows(tmp_path)[0]["step"] == "3"


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_tracker_that_is_not_installed_says_what_to_do(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        make_trackers([name], tmp_path)


def test_an_unknown_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="tensorboard"):
        make_trackers(["tensorbord"], tmp_path)
