"""What a run reports: `losses.csv` and sample sheets beside its checkpoints, and accelerate's trackers on demand."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, WandBTracker
from PIL import Image

from stylecrafter.errors import MissingDependencyError, OutputError, unknown_name
from stylecrafter.media.files import remove_parts, write_atomic

#: Name -> what to install for it, where anything is.
TRACKERS = {"csv": None, "tensorboard": "'stylecrafter[train]'", "wandb": "wandb"}
#: The folder of its event files, which accelerate names after its project.
_EVENTS = "tensorboard"
_SHEET = re.compile(r"samples-(\d{8})\.png")


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """What cannot be written, on a full disk for example, ends the run in words.

    Raises:
        OutputError: Instead of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}; the last checkpoint is intact") from error


class CsvTracker(GeneralTracker):
    """`losses.csv` and a folder of pictures."""

    name = "csv"
    requires_logging_directory = True
    FIELDS = ("step", "loss", "learning_rate", "gradient_norm", "steps_per_second")

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path, self.samples = folder / "losses.csv", folder / "samples"

    @property
    def tracker(self) -> Path:
        return self.path

    def log(self, values: Mapping[str, Any], step: int | None = None, **options: Any) -> None:
        """Append a row."""
        with written(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = not self.path.exists()
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.FIELDS)
                if fresh:
                    writer.writeheader()
                writer.writerow({"step": step, **{name: f"{value:.6g}" for name, value in values.items()}})

    def log_images(self, values: Mapping[str, np.ndarray], step: int | None = None, **options: Any) -> None:
        """Keep pictures (1, h, w, 3) of whole numbers up to 255."""
        for name, pictures in values.items():
            buffer = io.BytesIO()
            Image.fromarray(pictures[0]).save(buffer, "png")
            write_atomic(self.samples / f"{name}-{step:08d}.png", buffer.getvalue())

    def forget_after(self, step: int) -> None:
        """Drop the rows and pictures of later steps, which will be done again."""
        with written(self.path):
            self._forget_rows(step)
            self._forget_pictures(step)

    def _forget_rows(self, step: int) -> None:
        # Left by versions that wrote the file anew under that name.
        self.path.with_suffix(".tmp").unlink(missing_ok=True)
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8", errors="replace")
        header, *rows = text.splitlines() or [""]
        known = ",".join(self.FIELDS)
        if not known.startswith(header):
            raise OutputError(
                f"{self.path} is no file of losses: it begins with {header[:80]!r}; move it away"
            )
        # A process that was killed while it wrote leaves half a line, be it the first one.
        whole = [row for row in rows if row.count(",") == known.count(",") and row.split(",")[0].isdigit()]
        kept = [row for row in whole if int(row.split(",")[0]) <= step]
        if not kept:
            self.path.unlink()
            return
        write_atomic(self.path, "".join(f"{line}\r\n" for line in [known, *kept]).encode())

    def _forget_pictures(self, step: int) -> None:
        if not self.samples.is_dir():
            return
        remove_parts(self.samples)
        for path in list(self.samples.iterdir()):
            sheet = _SHEET.fullmatch(path.name)
            if sheet is not None and int(sheet[1]) > step:
                path.unlink()
        _remove_if_empty(self.samples)


def forget_after(folder: Path, step: int) -> None:
    """Drop what a stage in `folder` reported of later steps; after 0 that is everything (see `begun`)."""
    CsvTracker(folder).forget_after(step)
    if step == 0:
        events = folder / _EVENTS
        with written(events):
            for path in list(events.glob("events.out.tfevents.*")):
                path.unlink()
        _remove_if_empty(events)


def make_trackers(names: Sequence[str], folder: Path) -> list[GeneralTracker | str]:
    """What `Accelerator(log_with=…)` takes: the CSV file, and the trackers in `names`.

    Raises:
        UnknownNameError: No such tracker.
        MissingDependencyError: A tracker whose package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        if not is_installed(name):
            raise MissingDependencyError(
                f"{name} is not installed; pip install {TRACKERS[name]}, or leave it out of trackers"
            )
    made: list[GeneralTracker | str] = [CsvTracker(folder)]
    if "tensorboard" in names:
        made.append("tensorboard")
    if "wandb" in names:
        # One run per folder, so that a resumed run goes on in its own curve.
        name = f"{folder.parent.name}-{folder.name}"
        made.append(
            WandBTracker(
                "stylecrafter", name=name, dir=str(folder), id=name.replace("/", "-"), resume="allow"
            )
        )
    return made


def is_installed(tracker: str) -> bool:
    """Whether the package of a tracker is there."""
    return TRACKERS[tracker] is None or importlib.util.find_spec(tracker) is not None


def begun(accelerator: Accelerator, step: int) -> Accelerator:
    """The accelerator with its trackers, which begin with what is first said: a run that is refused leaves nothing.

    Args:
        accelerator: Made with `make_trackers`.
        step: The first step that this process takes; TensorBoard passes over what it was told of later ones.
    """
    if not accelerator.trackers:
        accelerator.init_trackers(_EVENTS, init_kwargs={"tensorboard": {"purge_step": step}})
    return accelerator


def log_picture(accelerator: Accelerator, name: str, picture: Image.Image, step: int) -> None:
    """Hand a picture to all trackers."""
    values = {name: np.asarray(picture.convert("RGB"))[None]}
    for tracker in accelerator.trackers:
        options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
        tracker.log_images(values, step=step, **options)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
