"""What a run reports reaches its trackers, once."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from PIL import Image

from stylecrafter.errors import MissingDependencyError, UnknownNameError
from stylecrafter.training.tracking import CsvTracker, make_trackers


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
