"""A recipe carried out: its stages one after the other in a folder (`run_folder`), then the trained model."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils import gather_object
from PIL import Image
from safetensors.torch import save

from stylecrafter.data.batch import BatchSource
from stylecrafter.data.records import Problem, Report
from stylecrafter.data.reporting import Reporting
from stylecrafter.errors import InvalidInputError, OutputError, unknown_name
from stylecrafter.media.documents import is_file
from stylecrafter.media.files import write_atomic
from stylecrafter.pipelines.loading import load_pipeline
from stylecrafter.runtime.ranks import is_main_process
from stylecrafter.training.checkpoint import list_checkpoints
from stylecrafter.training.from_scratch import fresh_models
from stylecrafter.training.from_scratch.encoder_stages import AutoencoderStage, ClipStage, DecoderStage
from stylecrafter.training.from_scratch.expansion import interpolate_positions
from stylecrafter.training.from_scratch.text_separation import TextSeparationStage
from stylecrafter.training.from_scratch.warm_start import warm_start
from stylecrafter.training.parts import Parts, load_trained
from stylecrafter.training.preflight import check_run
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.run_folder import RunFolder
from stylecrafter.training.run_models import RunModels
from stylecrafter.training.samples import SampleSheets
from stylecrafter.training.sources import make_source, words_for
from stylecrafter.training.stage_specs import (
    AutoencoderSpec,
    ClipSpec,
    DecoderSpec,
    StageSpec,
    TextSeparationSpec,
)
from stylecrafter.training.stages import DIFFUSION_STAGES, Stage
from stylecrafter.training.trainer import OnSample, Trainer
from stylecrafter.weights.locate import fetch_model

logger = logging.getLogger(__name__)

#: Called with the stage, the step (from 1), the steps of the stage, and the loss.
OnStep = Callable[[str, int, int, float], None]


class RecipeRun:
    """Carries out a recipe in a folder.

    Args:
        recipe: What to do.
        folder: Where everything goes.
        device: Where to train.

    Raises:
        OutputError: The folder cannot be written, or holds the run of another recipe.
    """

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device | str = "cpu") -> None:
        self.recipe, self.folder, self.device = recipe, folder, torch.device(device)
        self.models = RunModels(recipe, folder, self.device, self._pictures)
        self._kept = RunFolder(folder, recipe)
        self._record_due = self._stepped = False
        self.sources: dict[str, BatchSource] = {}
        self._reported: set[Problem] = set()
        #: The signal that asked the last `run` to end, be it in its last stage, which is then finished all the same.
        self.stopped_by: signal.Signals | None = None

    def run(self, *, resume: bool = False, until: str | None = None, on_step: OnStep | None = None) -> bool:
        """Train all stages that are not finished, then export the model.

        Args:
            resume: Go on where an earlier run of the same recipe was stopped.
            until: The last stage of this call; the model is exported as that stage leaves it, to `model_STAGE`. After
                `autoencoder` and `clip` there is no model yet, but their weights.
            on_step: For a progress bar.

        Returns:
            Whether everything was finished; False after a signal (`Interruption`), but for one in the last stage's
            last step.

        Raises:
            OutputError: The folder holds a run already and `resume` is off, or the run of another recipe, or another
                process is at work there.
            UnknownNameError: The recipe has no stage `until`.
        """
        self.stopped_by, self._stepped = None, False
        stages = self._stages_until(until)
        if not is_main_process():
            # One process decides and writes; where it refuses, the launcher ends the others.
            return self._carry_out(stages, until, on_step)
        self.check(resume=resume, until=until)
        check_run(self.recipe, [s for s in stages if not self.is_finished(s.name)], device=self.device)
        with self._kept.held():
            self.check(resume=resume, until=until)  # of what another process did until now
            # Who goes on may be refused by a checkpoint still, and keeps the recipe that it was made with until then.
            self._record_due = self._kept.holds_work()
            new = not self._record_due and self._kept.begin()
            try:
                return self._carry_out(stages, until, on_step)
            except Exception:
                if new and not self._stepped:
                    self._kept.withdraw()
                raise

    def check(self, *, resume: bool = False, until: str | None = None) -> None:
        """Refuse what cannot be carried out, before anything is written; nothing is written here.

        Raises:
            OutputError: As `run`, or something lies where the model is to go.
        """
        stages = self._stages_until(until)
        self._kept.check(resume=resume)
        result = self.exported_to(until)
        if stages[-1].is_encoder or not os.path.exists(result):
            return
        if result.is_dir() and not any(result.iterdir()):
            return
        if not self._kept.holds_work() or not (result / "model_index.json").is_file():
            raise OutputError(f"{result} lies where the model is to go: move it away, or name another folder")
        names = [spec.name for spec in stages]
        if self.models.is_exported(result, names) or not all(self.is_finished(name) for name in names):
            raise OutputError(f"the run in {self.folder} is finished: its model is {result}")

    def _carry_out(self, stages: list[StageSpec], until: str | None, on_step: OnStep | None) -> bool:
        for i, spec in enumerate(stages):
            if self.is_finished(spec.name):
                logger.info("%s: finished before", spec.name)
                continue
            later = [s.name for s in stages[i + 1 :] if self.is_finished(s.name)]
            if later:
                logger.warning(
                    "%s: is trained again, its weights are gone; %s stays", spec.name, ", ".join(later)
                )
            finished = self.train_stage(spec, on_step)
            if not finished or (self.stopped_by is not None and spec is not stages[-1]):
                return False
        if not stages[-1].is_encoder:
            self.models.export(self.exported_to(until), [spec.name for spec in stages])
        self._write_record()
        return True

    def _write_record(self) -> None:
        if self._record_due and is_main_process():
            self._kept.write_record()
            self._record_due = False

    def exported_to(self, until: str | None = None) -> Path:
        """Where `run` leaves its result: a model, or the weights of an encoder."""
        if until is not None and next(s for s in self.recipe.stages if s.name == until).is_encoder:
            return self.models.weights_path(until)
        return self.folder / ("model" if until is None else f"model_{until}")

    def _stages_until(self, last: str | None) -> list[StageSpec]:
        if last is None:
            return self.recipe.stages
        names = [spec.name for spec in self.recipe.stages]
        if last not in names:
            raise unknown_name("stage to stop after", last, names)
        return self.recipe.stages[: names.index(last) + 1]

    def holds_another(self) -> bool:
        """Whether the folder holds a run whose recipe differs from this one, be it in a number of steps."""
        return self._kept.holds_another()

    def is_finished(self, stage: str) -> bool:
        """Whether a stage has left its weights."""
        return is_file(self.models.weights_path(stage))

    def train_stage(self, spec: StageSpec, on_step: OnStep | None = None) -> bool:
        """Train one stage on top of those before it, going on from its checkpoint where there is one.

        Returns:
            Whether it was finished.

        Raises:
            CheckpointError: A stage before it has not been finished.
        """
        torch.manual_seed(self.recipe.seed)
        spec = spec.seeded(self.recipe.seed)
        stage, parts = self.build_stage(spec)
        first = spec.name == next(s.name for s in self.recipe.stages if s.stage == spec.stage)
        if (
            self.recipe.model.warm_start is not None
            and first
            and not list_checkpoints(self.folder / spec.name)
        ):
            warm_start(stage, parts, load_pipeline(fetch_model(self.recipe.model.warm_start), torch.float32))
        config, folder = spec.train, self.folder / spec.name
        on_sample = None if parts is None else self._sampler(spec, parts)
        trainer = Trainer(
            stage, config, folder, trackers=self.recipe.trackers, label=spec.name, on_sample=on_sample
        )
        trainer.resume()
        self._write_record()

        def report(step: int, loss: float) -> None:
            self._stepped = True
            self._kept.check_in_place()
            if on_step is not None:
                on_step(spec.name, step, config.steps, loss)

        try:
            finished = trainer.run(report)
        finally:
            trainer.close()
        self.stopped_by = trainer.stopped_by
        if finished:
            weights = {name: value.contiguous() for name, value in trainer.averaged_weights().items()}
            if trainer.accelerator.is_main_process:
                write_atomic(self.models.weights_path(spec.name), save(weights, {"stage": spec.stage}))
                self._kept.finish(spec.name)
            trainer.accelerator.wait_for_everyone()
        self._report_problems(trainer.accelerator.num_processes)
        return finished

    def _report_problems(self, processes: int) -> None:
        """Warn of what the sources of any process could not use, once."""
        for name, source in self.sources.items():
            if not isinstance(source, Reporting):
                continue
            # Each process met only what is in its own rows.
            met: list[Counter[Problem]] = gather_object([source.drain()]) if processes > 1 else []
            if not is_main_process():
                continue
            for problems in met:
                source.absorb(problems)
            # A mix reports what its members have reported, and a later stage what an earlier one has.
            counts = source.report().counts
            new = Counter({problem: n for problem, n in counts.items() if problem not in self._reported})
            self._reported |= new.keys()
            for line in Report(new):
                logger.warning("source %s: %s", name, line)

    def _sampler(self, spec: StageSpec, parts: Parts) -> OnSample | None:
        """What draws the sample sheets of a stage."""
        samples = self.recipe.samples
        if samples is None or not spec.train.sample_every:
            return None
        styled = spec.stage not in ("words", "base")

        def sheets_of(models: Parts) -> SampleSheets:
            return SampleSheets(samples, self.models.pipeline(models), self.recipe.folder, styled=styled)

        drawn, sheets = parts, None
        if spec.train.sharding == "none" and is_main_process():
            sheets = sheets_of(parts)  # at once, so that a style picture that is missing is no surprise later

        def draw(step: int, weights: dict[str, torch.Tensor] | None) -> Image.Image:
            nonlocal sheets, drawn
            if weights is not None and drawn is parts:
                # The models in training are in parts: a second, whole set of them is drawn with.
                drawn, sheets = self.models.parts(self._before(spec.name), spec.name), None
            sheets = sheets or sheets_of(drawn)
            if weights is not None:
                load_trained(drawn.models(), weights)
            return sheets.draw()

        return draw

    def build_stage(self, spec: StageSpec) -> tuple[Stage, Parts | None]:
        """A stage with its sources, on the models that the stages before it left; and these models."""
        if isinstance(spec, AutoencoderSpec):
            vae = fresh_models.build_vae(self.models.preset_sizes(spec.stage)).to(self.device)
            return AutoencoderStage(vae, self._pictures(spec), spec.options), None
        if isinstance(spec, ClipSpec):
            sizes = self.models.preset_sizes(spec.stage)
            tokenizer = fresh_models.build_tokenizer(sizes, words_for(self.recipe))
            clip = fresh_models.build_clip(sizes, tokenizer).to(self.device)
            return ClipStage(clip, tokenizer, self._pictures(spec), spec.options), None
        parts = self.models.parts(self._before(spec.name), spec.name)
        if isinstance(spec, TextSeparationSpec):
            return TextSeparationStage(parts, self._pictures(spec), spec.options), parts
        if isinstance(spec, DecoderSpec):
            vae = parts.backbone.component("vae")
            return DecoderStage(vae, self._pictures(spec), spec.options), parts
        interpolate_positions(parts.backbone, spec.position_interpolation)
        kind = DIFFUSION_STAGES[spec.stage]
        pictures, clips = (
            self.source(name) if name is not None else None for name in (spec.pictures, spec.clips)
        )
        return kind(parts, spec.options, pictures=pictures, clips=clips), parts

    def source(self, name: str) -> BatchSource:
        """The source of that name, made at its first use."""
        if name not in self.sources:
            spec = self.recipe.data[name]
            self.sources[name] = make_source(
                spec,
                self.recipe.folder,
                size=self.models.frame_size(),
                seed=self.recipe.seed,
                device=str(self.device),
                others=self.source,
            )
        return self.sources[name]

    def _before(self, stage: str) -> list[str]:
        names = [spec.name for spec in self.recipe.stages]
        return names[: names.index(stage)]

    def _pictures(self, spec: StageSpec) -> BatchSource:
        if spec.pictures is None:
            raise InvalidInputError(
                f"stage {spec.stage!r} needs 'pictures': the name of a source under 'data'"
            )
        return self.source(spec.pictures)
