"""Where the numbers and pictures of a run go: a CSV file always, TensorBoard and Weights & Biases on demand."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from stylecrafter.errors import MissingDependencyError, OutputError, unknown_name

TRACKERS = ("csv", "tensorboard", "wandb")


class Tracker(Protocol):
    """Keeps what a run reports."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep numbers of a step."""
        ...

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        """Keep a picture of a step."""
        ...

    def resume(self, step: int) -> None:
        """Forget what was logged after `step`, which will be done again."""
        ...

    def close(self) -> None: ...


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """What cannot be written, on a full disk for example, ends the run in words.

    Raises:
        OutputError: Instead of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}; the last checkpoint is intact") from error


class CsvTracker:
    """`losses.csv` and a folder of pictures."""

    FIELDS = ("step", "loss", "learning_rate", "gradient_norm", "steps_per_second")

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "losses.csv"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with _written(self.path):
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = not self.path.exists()
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.FIELDS)
                if fresh:
                    writer.writeheader()
                writer.writerow({"step": step, **{name: f"{value:.6g}" for name, value in values.items()}})

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        path = self.folder / "samples" / f"{name}-{step:08d}.png"
        with _written(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)

    def resume(self, step: int) -> None:
        if not self.path.exists():
            return
        header, *rows = self.path.read_text(encoding="utf-8").splitlines() or [""]
        if header != ",".join(self.FIELDS):
            # A process that was killed before its first line was written, or on a full disk.
            self.path.unlink()
            return
        # A process that was killed while it wrote leaves half a line.
        whole = [row for row in rows if row.count(",") == header.count(",") and row.split(",")[0].isdigit()]
        kept = [row for row in whole if int(row.split(",")[0]) <= step]
        temporary = self.path.with_suffix(".tmp")
        with _written(self.path):
            temporary.write_text("\n".join([header, *kept]) + "\n", encoding="utf-8")
            os.replace(temporary, self.path)

    def close(self) -> None:
        pass


class TensorBoardTracker:
    """Event files for `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "TensorBoard is not installed; pip install 'stylecrafter[train]', or leave it out of trackers"
            ) from error
        self._writer_class, self.folder = SummaryWriter, folder / "tensorboard"
        self._writer: Any = None
        self._purge: int | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with _written(self.folder):
            for name, value in values.items():
                self._open().add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        import numpy as np

        with _written(self.folder):
            self._open().add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def resume(self, step: int) -> None:
        self._purge = step + 1

    def close(self) -> None:
        if self._writer is not None:
            with _written(self.folder):
                self._writer.close()

    def _open(self) -> Any:
        if self._writer is None:
            self._writer = self._writer_class(str(self.folder), purge_step=self._purge)
        return self._writer


class WandbTracker:
    """A run of Weights & Biases; offline where WANDB_MODE says so."""

    def __init__(self, folder: Path, name: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError(
                "Weights & Biases is not installed; pip install wandb, or leave it out of trackers"
            ) from error
        self._wandb: Any = wandb
        # One run per folder, so that a resumed run goes on in its own curve.
        run_id = name.replace("/", "-")
        self._run = wandb.init(project="stylecrafter", name=name, dir=str(folder), id=run_id, resume="allow")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        self._run.log({name: self._wandb.Image(picture)}, step=step)

    def resume(self, step: int) -> None:
        pass

    def close(self) -> None:
        self._run.finish()


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = list(trackers)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(step, values)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        for tracker in self.trackers:
            tracker.picture(step, name, picture)

    def resume(self, step: int) -> None:
        for tracker in self.trackers:
            tracker.resume(step)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def make_trackers(names: Sequence[str], folder: Path) -> Trackers:
    """The CSV file, and the trackers in `names`.

    Raises:
        UnknownNameError: No such tracker.
        MissingDependencyError: A tracker whose package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
    made: list[Tracker] = [CsvTracker(folder)]
    if "tensorboard" in names:
        made.append(TensorBoardTracker(folder))
    if "wandb" in names:
        made.append(WandbTracker(folder, f"{folder.parent.name}-{folder.name}"))
    return Trackers(made)
