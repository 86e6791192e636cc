"""A set of StyleWorld that several models or methods are asked, in a folder that keeps all that was made."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.asked_metrics import metrics_for
from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.methods import ClipRequest, make_clips, read_style_texts
from stylecrafter.evaluation.report import shown, summarise, titled
from stylecrafter.evaluation.request import EvaluationRequest
from stylecrafter.evaluation.runner import Evaluation, measure_folder
from stylecrafter.evaluation.testset import read_testset
from stylecrafter.evaluation.truth.world_set import STYLE_TEXTS_NAME, WorldSetSpec, write_world_set
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.studies.plots import bars
from stylecrafter.studies.result import StudySpec, Table

logger = logging.getLogger(__name__)

#: Scores that tables of studies show, where the runs have them.
SHOWN = ("object_right", "scene_right", "motion_right", "style_found_by_probe", "style_vector", "style_found",
         "palette_distance", "leaked", "leaked_by_chance", "flicker", "warping_error", "dynamics")  # fmt: skip


class Asked:
    """One set, and the runs that were asked it.

    Args:
        kind: Name of the set, and of its folder.
        drawn: How StyleWorld draws it; its seed is that of the noise, too.
        spec: Settings of the study.
        frames: 1 makes pictures, more make clips; None: as many as the model makes.
        folder: Keeps set, clips, probes and scores; what a stopped study left in it is used again.

    Raises:
        InvalidInputError: The set's numbers do not fit.
        MissingDependencyError: A metric needs a package that is not installed.
        OutputError: The folder cannot be written.
    """

    def __init__(
        self, kind: str, drawn: WorldSetSpec, spec: StudySpec, frames: int | None, folder: Path
    ) -> None:
        self.kind, self._folder = kind, folder
        # Read whole, as in the paper, whatever the model's default.
        self._settings = GenerationSettings(
            prompt="-",
            style_corners=False,
            seed=drawn.seed,
            frames=frames,
            steps=spec.steps,
            dtype=spec.dtype,
        )
        self._testset = read_testset(write_world_set(drawn, folder / f"testset_{kind}"))
        self._suffix = ".png" if frames == 1 else ".mp4"
        request = EvaluationRequest(str(self._testset.file), self._settings)
        self._metrics, self.probe_accuracy = metrics_for(request, self._testset, folder)
        self._infos = {info.name: info for metric in self._metrics for info in metric.infos}
        self.runs: dict[str, Evaluation] = {}

    def ask(self, name: str, model: str, method: Method = Method.OURS) -> None:
        """Make the clips of a run that are not there yet, and measure them.

        Raises:
            InvalidInputError: There is no such model, or the method is not possible with it.
            MissingDependencyError: The method needs a package that is not installed.
        """
        made = self._make(name, model, method)
        self.runs[name] = measure_folder(self._testset, made, self._metrics, self._folder, title=name)
        logger.info("%s: measured %d %s", name, len(self.runs[name].clips), self.kind)

    def add(self, name: str, other: Asked, run: str = Method.OURS.value) -> None:
        """Take a run of another set over, whose references are the first pictures of the other's styles.

        Its entries become this set's: they are the same prompts in the same styles, so that runs compare in pairs.

        Raises:
            InvalidInputError: The sets differ in more than the number of pictures.
        """
        mine, theirs = self._testset, other._testset
        if [entry.prompt for entry in mine.entries] != [entry.prompt for entry in theirs.entries]:
            raise InvalidInputError(f"{theirs.file} does not ask what {mine.file} asks")
        found = {clip.name: clip for clip in other.runs[run].clips}
        clips = [
            replace(found[its.name], name=entry.name, styles=tuple(entry.styles))
            for entry, its in zip(mine.entries, theirs.entries, strict=True)
            if its.name in found
        ]
        self.runs[name] = replace(other.runs[run], title=name, clips=tuple(clips))

    def _make(self, name: str, model: str, method: Method) -> Path:
        target = self._folder / self.kind / name
        words = read_style_texts(self._testset.file.parent / STYLE_TEXTS_NAME)
        settings = self._settings.changed(model=model)
        request = ClipRequest(self._testset, settings, self._suffix, words)
        # A method that starts from another's clips takes that of the same model.
        make_clips(method, request, target, lambda source: self._make(source.value, model, source))
        return target

    def scores(self, title: str) -> Table:
        """A row per run; scores that no run has are left out."""
        means = {name: summarise(run) for name, run in self.runs.items()}
        asked = [self._infos[name] for name in SHOWN if name in self._infos]
        known = [info for info in asked if any(of[info] is not None for of in means.values())]
        cells = [(name, *(shown(of[info]) for info in known)) for name, of in means.items()]
        note = "Accuracy of the probes on renders: " + ", ".join(
            f"{name} {value:.2f}" for name, value in self.probe_accuracy.items()
        )
        return Table(title, ("run", *map(titled, known)), tuple(cells), f"{note}.")

    def bars(self, score: str) -> str:
        """One score over the runs that have it."""
        info = self._infos[score]
        means = {name: summarise(run)[info] for name, run in self.runs.items()}
        values = {name: interval for name, interval in means.items() if interval is not None}
        return bars(f"{self.kind.capitalize()}: {titled(info)}", titled(info), values)

    def data(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Every score of every clip of every run."""
        return {name: {clip.name: clip.scores for clip in run.clips} for name, run in self.runs.items()}
