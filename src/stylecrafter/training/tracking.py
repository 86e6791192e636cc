"""Where the numbers and pictures of a run go: a CSV file always, TensorBoard and Weights & Biases on demand."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from stylecrafter.errors import MissingDependencyError, OutputError, unknown_name
from stylecrafter.media.files import remove_parts, write_atomic

TRACKERS = ("csv", "tensorboard", "wandb")
_SHEET = re.compile(r"samples-(\d{8})\.png")


class Tracker(Protocol):
    """Keeps what a run reports."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep numbers of a step."""
        ...

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        """Keep a picture of a step."""
        ...

    def resume(self, step: int) -> None:
        """Forget what was logged after `step`, which will be done again; after 0 that is everything."""
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
        buffer = io.BytesIO()
        picture.save(buffer, "png")
        write_atomic(self.samples / f"{name}-{step:08d}.png", buffer.getvalue())

    @property
    def samples(self) -> Path:
        """The folder of pictures."""
        return self.folder / "samples"

    def resume(self, step: int) -> None:
        with _written(self.path):
            self._forget_numbers(step)
            self._forget_pictures(step)

    def _forget_numbers(self, step: int) -> None:
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

    def close(self) -> None:
        pass


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


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
        if step == 0:
            self.forget(self.folder.parent)

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove the event files of a run in `folder`."""
        events = folder / "tensorboard"
        with _written(events):
            for path in list(events.glob("events.out.tfevents.*")):
                path.unlink()
        _remove_if_empty(events)

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
        self.folder, self.name = folder, name
        self._run: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._open().log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        self._open().log({name: self._wandb.Image(picture)}, step=step)

    def resume(self, step: int) -> None:
        pass

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _open(self) -> Any:
        # Not before there is something to say: a run that is refused leaves nothing.
        if self._run is None:
            # One run per folder, so that a resumed run goes on in its own curve.
            run_id = self.name.replace("/", "-")
            self._run = self._wandb.init(
                project="stylecrafter", name=self.name, dir=str(self.folder), id=run_id, resume="allow"
            )
        return self._run


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
