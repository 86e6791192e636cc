"""A set of StyleWorld that several models or methods are asked, in a folder that keeps all that was made."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.evaluate import EvaluationRequest, metrics_for
from stylecrafter.evaluation.method_names import Method
from stylecrafter.evaluation.methods import ClipRequest, make_clips, read_style_texts
from stylecrafter.evaluation.report import shown, summarise, titled
from stylecrafter.evaluation.runner import Evaluation, measure_folder
from stylecrafter.evaluation.statistics import Interval
from stylecrafter.evaluation.testset import STYLE_TEXTS_NAME, WorldSetSpec, read_testset, write_world_set
from stylecrafter.generation.settings import GenerationSettings
from stylecrafter.studies.plots import bars
from stylecrafter.studies.result import Table

logger = logging.getLogger(__name__)

#: Figures that tables of studies show, where the runs have them.
SHOWN = ("object_right", "scene_right", "motion_right", "style_found_by_probe", "style_vector", "style_found",
         "palette_distance", "leaked", "leaked_by_chance", "flicker", "warping_error", "dynamics")  # fmt: skip


class Asked:
    """One set, and the runs that were asked it.

    Args:
        kind: Name of the set, and of its folder.
        spec: How StyleWorld draws it.
        settings: Seed and sampling; with `frames` 1 pictures are made, otherwise clips.
        folder: Keeps set, clips, probes and figures; what a stopped study left in it is used again.

    Raises:
        InvalidInputError: The set's numbers do not fit.
        MissingDependencyError: A metric needs a package that is not installed.
        OutputError: The folder cannot be written.
    """

    def __init__(self, kind: str, spec: WorldSetSpec, settings: GenerationSettings, folder: Path) -> None:
        self.kind, self._settings, self._folder = kind, settings, folder
        self._testset = read_testset(write_world_set(spec, folder / f"testset_{kind}"))
        self._suffix = ".png" if settings.frames == 1 else ".mp4"
        request = EvaluationRequest(str(self._testset.file), settings)
        self._metrics, self.probe_accuracy = metrics_for(request, self._testset, folder)
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

    def figures(self, title: str) -> Table:
        """A row per run; figures that no run has are left out."""
        rows = {name: {row.info.name: row for row in summarise(run)} for name, run in self.runs.items()}
        known = [f for f in SHOWN if any(f in of and of[f].interval is not None for of in rows.values())]
        infos = {row.info.name: row.info for of in rows.values() for row in of.values()}
        cells = [(name, *(shown(of[figure].interval) for figure in known)) for name, of in rows.items()]
        note = "Accuracy of the probes on renders: " + ", ".join(
            f"{name} {value:.2f}" for name, value in self.probe_accuracy.items()
        )
        return Table(title, ("run", *(titled(infos[figure]) for figure in known)), tuple(cells), f"{note}.")

    def bars(self, figure: str) -> str:
        """One figure over the runs."""
        values: dict[str, Interval] = {}
        title = figure
        for name, evaluation in self.runs.items():
            for row in summarise(evaluation):
                if row.info.name == figure and row.interval is not None:
                    values[name], title = row.interval, titled(row.info)
        return bars(f"{self.kind.capitalize()}: {title}", title, values)

    def data(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Every figure of every clip of every run."""
        return {name: {clip.name: clip.figures for clip in run.clips} for name, run in self.runs.items()}
