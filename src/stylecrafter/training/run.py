"""A recipe carried out: its stages one after the other in a folder, then the trained model as a pipeline folder.

FOLDER/
  recipe.yaml                    what was run, every value resolved
  STAGE/checkpoint-00001000.pt   to go on from
  STAGE/losses.csv, samples/     what happened
  STAGE/weights.safetensors      the averaged weights of a finished stage
  model/                         what `--model` and `from_pretrained` load
  clip_model/                    the whole CLIP of stage clip, whose projections a pipeline has no use for
"""

from __future__ import annotations

import json
import logging
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate.utils import gather_object
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter import VideoCrafterUNet
from stylecrafter.data.batch import BatchSource
from stylecrafter.data.records import Problem, Report
from stylecrafter.data.reporting import Reporting
from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError, unknown_name
from stylecrafter.media.files import write_atomic
from stylecrafter.pipelines.stylized_video import StyleCrafterPipeline
from stylecrafter.presets import load_preset
from stylecrafter.runtime.ranks import is_main_process
from stylecrafter.training import from_scratch
from stylecrafter.training.beginnings import begin_with
from stylecrafter.training.checkpoint import list_checkpoints
from stylecrafter.training.encoder_stages import (
    AutoencoderStage,
    ClipStage,
    DecoderStage,
    latent_scale,
)
from stylecrafter.training.growth import adapter_for_grown, with_attention
from stylecrafter.training.parts import Parts, load_trained
from stylecrafter.training.recipe_files import RECORD
from stylecrafter.training.recipes import Recipe, StageSpec
from stylecrafter.training.samples import SampleSheets
from stylecrafter.training.sources import make_source, vocabulary_of, words_for
from stylecrafter.training.stages import DIFFUSION_STAGES, Stage
from stylecrafter.training.tracking import Tracker, Trackers, make_trackers
from stylecrafter.training.trainer import OnSample, Trainer
from stylecrafter.training.words_stage import WordsStage
from stylecrafter.weights.loading import load_pipeline
from stylecrafter.weights.locate import fetch_model
from stylecrafter.weights.saving import save_model, save_whole

logger = logging.getLogger(__name__)

#: Called with the stage, the step (from 1), the steps of the stage, and the loss.
OnStep = Callable[[str, int, int, float], None]


CLIP_MODEL = "clip_model"


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
        self.sizes: dict[str, Any] | None = load_preset(recipe.model.preset) if recipe.model.preset else None
        self.sources: dict[str, BatchSource] = {}
        self._reported: set[Problem] = set()
        #: The signal that asked the last `run` to end, be it in its last stage, which is then finished all the same.
        self.stopped_by: signal.Signals | None = None
        #: Sizes and defaults of the pipeline that is built around the parts.
        self._settings: dict[str, Any] = {} if self.sizes is None else _preset_settings(self.sizes)

    def run(self, *, resume: bool = False, until: str | None = None, on_step: OnStep | None = None) -> bool:
        """Train all stages that are not finished, then export the model.

        Args:
            resume: Go on where an earlier run of the same recipe was stopped.
            until: The last stage of this call; the model is exported as that stage leaves it, to `model_STAGE`. After
                `autoencoder` and `clip` there is no model yet, but their weights.
            on_step: For a progress bar.

        Returns:
            Whether everything was finished; False after SIGTERM or SIGINT, but for one in the last stage's last step.

        Raises:
            OutputError: The folder holds a run already and `resume` is off.
            UnknownNameError: The recipe has no stage `until`.
        """
        self.stopped_by = None
        stages = self._stages_until(until)
        self._prepare(resume)
        for spec in stages:
            if self.is_finished(spec.name):
                logger.info("%s: finished before", spec.name)
                continue
            finished = self.train_stage(spec, on_step)
            if not finished or (self.stopped_by is not None and spec is not stages[-1]):
                return False
        if not stages[-1].is_encoder:
            self.export(self.exported_to(until), [spec.name for spec in stages])
        return True

    def exported_to(self, until: str | None = None) -> Path:
        """Where `run` leaves its result: a model, or the weights of an encoder."""
        if until is not None and next(s for s in self.recipe.stages if s.name == until).is_encoder:
            return self._weights_path(until)
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
        note = self.folder / RECORD
        return note.is_file() and note.read_text(encoding="utf-8") != self._record()

    def _record(self) -> str:
        """The recipe as it is written beside what comes of it."""
        return yaml.safe_dump(self.recipe.standalone().model_dump(mode="json"), sort_keys=False)

    def is_finished(self, stage: str) -> bool:
        """Whether a stage has left its weights."""
        return self._weights_path(stage).is_file()

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
            self.recipe.model.begin_with is not None
            and first
            and not list_checkpoints(self.folder / spec.name)
        ):
            begin_with(stage, parts, load_pipeline(fetch_model(self.recipe.model.begin_with), torch.float32))
        config, folder = spec.train_config, self.folder / spec.name
        tracker = make_trackers(self.recipe.trackers, folder) if is_main_process() else Trackers([])
        on_sample = None if parts is None else self._sampler(spec, parts, tracker)
        trainer = Trainer(stage, config, folder, tracker=tracker, label=spec.name, on_sample=on_sample)
        trainer.resume()

        def report(step: int, loss: float) -> None:
            if on_step is not None:
                on_step(spec.name, step, config.steps, loss)

        try:
            finished = trainer.run(report)
        finally:
            tracker.close()
        self.stopped_by = trainer.stopped_by
        if finished:
            weights = {name: value.contiguous() for name, value in trainer.averaged_weights().items()}
            if trainer.accelerator.is_main_process:
                write_atomic(self._weights_path(spec.name), save(weights, {"stage": spec.stage}))
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

    def _sampler(self, spec: StageSpec, parts: Parts, tracker: Tracker) -> OnSample | None:
        """What draws the sample sheets of a stage."""
        samples = self.recipe.samples
        if samples is None or not spec.train_config.sample_every:
            return None
        sheets: SampleSheets | None = None
        drawn, styled = parts, spec.stage not in ("words", "base")
        if spec.train_config.sharding == "none" and is_main_process():
            # At once, so that a style picture that is missing is no surprise later.
            sheets = SampleSheets(samples, self.pipeline(parts), self.recipe.folder, tracker, styled=styled)

        def draw(step: int, weights: dict[str, torch.Tensor] | None) -> None:
            nonlocal sheets, drawn
            if weights is not None and drawn is parts:
                # The models in training are in parts: a second, whole set of them is drawn with.
                drawn, sheets = self.parts(self._before(spec.name)), None
            if sheets is None:
                sheets = SampleSheets(
                    samples, self.pipeline(drawn), self.recipe.folder, tracker, styled=styled
                )
            if weights is not None:
                load_trained(drawn.models(), weights)
            sheets.draw(step)

        return draw

    def build_stage(self, spec: StageSpec) -> tuple[Stage, Parts | None]:
        """A stage with its sources, on the models that the stages before it left; and these models."""
        if spec.stage == "autoencoder":
            sizes = self._preset_sizes(spec.stage)
            vae = from_scratch.build_vae(sizes).to(self.device)
            return AutoencoderStage(vae, self._needed(spec, "pictures"), spec.autoencoder_config), None
        if spec.stage == "clip":
            sizes = self._preset_sizes(spec.stage)
            tokenizer = from_scratch.build_tokenizer(sizes, words_for(self.recipe))
            clip = from_scratch.build_clip(sizes, tokenizer).to(self.device)
            return ClipStage(clip, tokenizer, self._needed(spec, "pictures"), spec.clip_config), None
        parts = self.parts(self._before(spec.name))
        if spec.stage == "words":
            return WordsStage(parts, self._needed(spec, "pictures"), spec.words_config), parts
        if spec.stage == "decoder":
            return DecoderStage(parts.vae, self._needed(spec, "pictures"), spec.decoder_config), parts
        parts.unet.stretch_time(spec.stretch_time)
        kind = DIFFUSION_STAGES[spec.stage]
        pictures, clips = (
            self.source(name) if name is not None else None for name in (spec.pictures, spec.clips)
        )
        return kind(parts, spec.diffusion_config, pictures=pictures, clips=clips), parts

    def parts(self, trained: list[str]) -> Parts:
        """The models with the weights that the stages named `trained` have left; the rest as the recipe starts them.

        Raises:
            CheckpointError: One of these stages has not been finished.
        """
        weights = {stage: self._load_weights(stage) for stage in trained}
        torch.manual_seed(self.recipe.seed)
        if self.sizes is None:
            parts = self._pretrained_parts(self.recipe.model.pretrained or "")
        else:
            parts = self._preset_parts(self.sizes, weights)
        for stage, values in weights.items():
            if stage not in ("autoencoder", "clip"):
                load_trained(parts.models(), values)
        for model in parts.models().values():
            model.to(self.device)
        return parts

    def _preset_parts(self, sizes: dict[str, Any], weights: dict[str, dict[str, torch.Tensor]]) -> Parts:
        vae = from_scratch.build_vae(sizes)
        tokenizer = from_scratch.build_tokenizer(sizes, words_for(self.recipe))
        clip = from_scratch.build_clip(sizes, tokenizer)
        if "autoencoder" in weights:
            load_trained({"vae": vae}, weights["autoencoder"])
            vae.register_to_config(scaling_factor=self._latent_scale(vae))
        if "clip" in weights:
            load_trained({"clip": clip}, _own_weights(weights["clip"]))
        text_encoder, image_encoder = from_scratch.split_clip(clip)
        unet = VideoCrafterUNet(**sizes["unet"])
        models: dict[str, nn.Module] = {"unet": unet, "text_encoder": text_encoder}
        for spec in self.recipe.stages:
            if spec.stage == "base" and spec.name in weights:
                # Before the adapter is built: its keys and values start as copies of the UNet's.
                load_trained(models, weights[spec.name])
        adapter = StyleAdapter.for_model(
            unet, sizes["vision"]["hidden_size"], **{**sizes["adapter"], **self.recipe.adapter}
        )
        adapter.attach(unet)
        return Parts(
            vae=vae.eval(),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            image_encoder=image_encoder,
            unet=unet,
            scheduler=DDIMScheduler(**sizes["scheduler"]),
            style_adapter=adapter,
        )

    def _pretrained_parts(self, name: str) -> Parts:
        pipe = load_pipeline(fetch_model(name), torch.float32)
        adapter: StyleAdapter | None = pipe.style_adapter
        unet, levels = pipe.unet, self.recipe.model.attention_levels
        if levels is not None and tuple(levels) != tuple(unet.config["attention_levels"]):
            if adapter is not None:
                adapter.detach()
            unet = with_attention(unet, levels)
            if adapter is not None:
                adapter = adapter_for_grown(adapter, unet).attach(unet)
        if self.recipe.model.new_adapter or self.recipe.adapter:
            options = dict(self.recipe.adapter)
            if adapter is not None:
                # As large as the one that it stands in for, but for what the recipe says: so that runs compare.
                options = {**adapter.options, **options}
                adapter.detach()
                if not self.recipe.model.new_adapter:
                    logger.info("a fresh adapter is trained: the recipe asks for another than %s has", name)
            adapter = StyleAdapter.for_model(unet, pipe.image_encoder.config.hidden_size, **options)
            adapter.attach(unet)
        self._settings = {k: v for k, v in pipe.config.items() if k in _SETTINGS or k.startswith("default_")}
        return Parts(
            vae=pipe.vae.eval(),
            text_encoder=pipe.text_encoder.eval(),
            tokenizer=pipe.tokenizer,
            image_encoder=pipe.image_encoder.eval(),
            unet=unet,
            scheduler=pipe.scheduler,
            style_adapter=adapter,
        )

    def _latent_scale(self, vae: Any) -> float:
        spec = next((s for s in self.recipe.stages if s.stage == "autoencoder"), None)
        if spec is None:
            raise CheckpointError("the scale of the latents comes from the pictures of stage 'autoencoder'")
        return latent_scale(vae, self._needed(spec, "pictures"))

    def source(self, name: str) -> BatchSource:
        """The source of that name, made at its first use."""
        if name not in self.sources:
            spec = self.recipe.data[name]
            self.sources[name] = make_source(
                spec,
                self.recipe.folder,
                size=self._frame_size(),
                seed=self.recipe.seed,
                device=str(self.device),
                others=self.source,
            )
        return self.sources[name]

    def pipeline(self, parts: Parts) -> StyleCrafterPipeline:
        """A pipeline around these very models."""
        return StyleCrafterPipeline(
            vae=parts.vae,
            text_encoder=parts.text_encoder,
            tokenizer=parts.tokenizer,
            unet=parts.unet,
            scheduler=parts.scheduler,
            image_encoder=parts.image_encoder,
            style_adapter=parts.style_adapter,
            **self._settings,
        )

    def export(self, folder: Path, stages: list[str]) -> None:
        """Write the model as `stages` left it: a folder that `StyleCrafterPipeline.from_pretrained` loads, in float16.

        Raises:
            CheckpointError: A stage has not been finished.
            OutputError: The folder holds something already, or the disk does not take it.
        """
        if not is_main_process():
            return
        parts = self.parts(stages)
        for model in parts.models().values():
            # One by one: a pipeline, and a diffusers model with a dtype, warn of float16 where nothing is to run.
            model.cpu().half()
        pipe = self.pipeline(parts)
        save_model(pipe, folder)
        world = vocabulary_of(self.recipe)
        if world is not None:
            write_atomic(folder / "world.json", (json.dumps(world, indent=2) + "\n").encode())
        logger.info("wrote %s", folder)
        if self.sizes is not None and "clip" in stages and not (self.folder / CLIP_MODEL).is_dir():
            self._export_clip(self.sizes, parts.tokenizer)

    def _export_clip(self, sizes: dict[str, Any], tokenizer: Any) -> None:
        """Write the CLIP as `transformers` has it, which `evaluate --clip` takes."""
        clip = from_scratch.build_clip(sizes, tokenizer)
        load_trained({"clip": clip}, _own_weights(self._load_weights("clip")))

        def write(folder: Path) -> None:
            clip.half().save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            from_scratch.build_clip_processor(sizes).save_pretrained(folder)

        logger.info("wrote %s", save_whole(self.folder / CLIP_MODEL, write))

    def _prepare(self, resume: bool) -> None:
        if not is_main_process():
            return  # one process decides and writes; where it refuses, the launcher ends the others
        note = self.folder / RECORD
        if note.is_file():
            if not resume:
                raise OutputError(
                    f"{self.folder} holds a run already: --resume goes on with it, or name a new folder"
                )
            if (self.folder / "model").exists():
                raise OutputError(
                    f"the run in {self.folder} is finished: its model is {self.folder / 'model'}"
                )
            if self.holds_another():
                logger.warning(
                    "the recipe differs from the one that %s began with; finished stages stay", self.folder
                )
        write_atomic(note, self._record().encode())

    def _before(self, stage: str) -> list[str]:
        names = [spec.name for spec in self.recipe.stages]
        return names[: names.index(stage)]

    def _needed(self, spec: StageSpec, field: str) -> BatchSource:
        name = getattr(spec, field)
        if name is None:
            raise InvalidInputError(
                f"stage {spec.stage!r} needs {field!r}: the name of a source under 'data'"
            )
        return self.source(name)

    def _preset_sizes(self, stage: str) -> dict[str, Any]:
        if self.sizes is None:
            raise InvalidInputError(
                f"stage {stage!r} trains a model from nothing: give the recipe 'model: {{preset: …}}'"
            )
        return self.sizes

    def _frame_size(self) -> tuple[int, int]:
        """Height and width of what the model makes."""
        if self.sizes is not None:
            return int(self.sizes["image_size"]), int(self.sizes["image_size"])
        if not self._settings:
            raise InvalidInputError("the size of the frames comes with the pretrained model; load it first")
        return int(self._settings["default_height"]), int(self._settings["default_width"])

    def _weights_path(self, stage: str) -> Path:
        return self.folder / stage / "weights.safetensors"

    def _load_weights(self, stage: str) -> dict[str, torch.Tensor]:
        path = self._weights_path(stage)
        if not path.is_file():
            raise CheckpointError(f"stage {stage!r} has not been finished: no {path}")
        try:
            return load_file(path)
        except SafetensorError as error:
            raise CheckpointError(f"{path} is not readable: {error}") from error


#: Settings of a pipeline that a new one around the same models needs, besides the defaults for sampling.
_SETTINGS = ("reference_size", "image_tokens_half")


def _preset_settings(sizes: dict[str, Any]) -> dict[str, Any]:
    size = sizes["image_size"]
    return {
        "reference_size": size,
        "default_frames": sizes["num_frames"],
        "default_height": size,
        "default_width": size,
        **sizes["sampling"],
    }


def _own_weights(trained: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CLIP's weights without the head that its stage looks at styles with."""
    return {name: value for name, value in trained.items() if not name.startswith("style_head.")}
