"""A model under study: StyleWorld's held-out pairs for it, single pictures of them, and what probes say of those.

Single pictures and not clips, because studies need many: a picture costs a twentieth of a clip, and the adapter is the
same in both.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from stylecrafter.evaluation.metrics.style import describe_style, descriptor_distances
from stylecrafter.evaluation.truth.probes import Probe, Question, labels_of, train_probe
from stylecrafter.evaluation.truth.trained_probes import content_probe
from stylecrafter.evaluation.truth.world_set import WorldSetSpec, world_set_for
from stylecrafter.generation.models import look_up_model
from stylecrafter.media.tensors import to_pictures
from stylecrafter.pipelines.loading import load_pipeline
from stylecrafter.pipelines.noise import draw_noise
from stylecrafter.pipelines.stylized_image import StyleCrafterImagePipeline
from stylecrafter.runtime.devices import resolve_dtype
from stylecrafter.runtime.seeding import make_generator
from stylecrafter.studies.result import StudySpec
from stylecrafter.styleworld import world
from stylecrafter.styleworld.styles import STYLE_NAMES

if TYPE_CHECKING:
    from stylecrafter.evaluation.truth.held_out import HeldOutSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What is said of n pictures; every tensor is (n,), float in [0, 1].

    `style`: share of the other references that are further away than the own one, by the untrained descriptor (chance
    0.5). `found`: whether all of them are. `text`: probability of the prompt's object, by a probe trained on renders.
    `benefit`: mean of style and text, what a user asked for.
    """

    style: torch.Tensor
    found: torch.Tensor
    text: torch.Tensor

    @property
    def benefit(self) -> torch.Tensor:
        return (self.style + self.text) / 2


class Subject:
    """A model with a set of StyleWorld that it has not seen.

    Args:
        model: Embedded name, folder or hub id.
        spec: The set; see `world_set_for`.
        steps: Of sampling; None: the model's.
        batch_size: Pictures made together.
        dtype: Of the weights.

    Raises:
        InvalidInputError: There is no such model, it has no adapter, or the set's numbers do not fit.
        CheckpointError: It cannot be loaded.
    """

    def __init__(
        self,
        model: str,
        spec: WorldSetSpec,
        *,
        steps: int | None = None,
        batch_size: int = 16,
        dtype: str = "auto",
    ) -> None:
        self.spec = spec
        self.video = load_pipeline(look_up_model(model).folder, resolve_dtype(dtype, torch.device("cpu")))
        self.video.set_progress_bar_config(disable=True)
        self.pipe = StyleCrafterImagePipeline.from_pipe(self.video)
        self.pipe.set_progress_bar_config(disable=True)
        self._steps, self._batch_size = steps, batch_size
        self._ask(spec.draw())

    @classmethod
    def of(cls, model: str, spec: StudySpec, **numbers: int) -> Subject:
        """A model with the set that fits it.

        Args:
            model: Embedded name, folder or hub id.
            spec: Settings of the study.
            numbers: Of the set; see `WorldSetSpec`.
        """
        drawn = world_set_for(model, vocabulary=None, **numbers)
        return cls(model, drawn, steps=spec.steps, dtype=spec.dtype)

    def with_set(self, held_out: HeldOutSet) -> Subject:
        """The same model, loaded once, with another set."""
        other = copy.copy(self)
        other._ask(held_out)
        return other

    def _ask(self, held_out: HeldOutSet) -> None:
        self.set = held_out
        self.references = world.render(held_out.references, self.spec.size)[:, 0]
        self.style_tokens = self.encode(held_out.references)
        self.text_embeds = self.pipe.encode_text(held_out.texts)

    @property
    def rows(self) -> torch.Tensor:
        """All pairs of the set."""
        return torch.arange(len(self.set))

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Of the layers that have a factor, in the order of the factors."""
        return tuple(self.pipe.style_adapter.layer_names)

    def encode(self, styles: world.WorldBatch) -> torch.Tensor:
        """Style tokens (n, q, d) of renders of n things, read whole as in the paper, whatever the model's default."""
        return self.pipe.encode_style(to_pictures(world.render(styles, self.spec.size)[:, 0]), corners=False)

    def predicted_scales(self) -> torch.Tensor:
        """The factors of every pair, (n, L)."""
        return self.pipe.predict_scales(
            self.style_tokens[self.set.reference_of], self.text_embeds[self.set.prompt_of]
        )

    def names_of(self, row: int) -> tuple[str, str]:
        """Kind of style and prompt of a pair."""
        kind = STYLE_NAMES[int(self.set.references.style[self.set.reference_of[row]])]
        return kind, self.set.texts[int(self.set.prompt_of[row])]

    def paint(
        self, rows: torch.Tensor, scales: torch.Tensor | None = None, scale: float = 1.0
    ) -> torch.Tensor:
        """Pictures (n, 3, h, w) in [0, 1] of the pairs `rows`; the noise of a pair is always the same.

        Args:
            rows: (n,) which pairs.
            scales: (n, L) factors in place of the predicted ones.
            scale: Multiplies the factors; 0 is text alone.
        """
        made = []
        for part in torch.arange(len(rows)).split(self._batch_size):
            given = self._arguments(rows[part], scale)
            out: Any = self.pipe(**given, style_scales=None if scales is None else scales[part])
            made.append(torch.as_tensor(out.images))
        return torch.cat(made)

    def film(self, rows: torch.Tensor, scale: float = 1.0, frames: int | None = None) -> torch.Tensor:
        """Clips (n, f, 3, h, w) in [0, 1] of the pairs `rows`; frames None: as many as the model makes."""
        made = []
        for row in rows:
            out: Any = self.video(**self._arguments(row[None], scale), num_frames=frames)
            made.append(torch.as_tensor(out.frames))
        return torch.cat(made)

    @torch.no_grad()
    def redraw(
        self, rows: torch.Tensor, clips: torch.Tensor, depth: float, *, alone: bool = False
    ) -> torch.Tensor:
        """Clips (n, f, 3, h, w) in [0, 1], noised and denoised again as the pairs `rows` (SDEdit, arXiv 2108.01073).

        Without guidance, which would draw anew instead of keeping what is there.

        Args:
            rows: (n,) which pairs.
            clips: (n, f, 3, h, w) in [0, 1].
            depth: How far they are noised, 0 (not at all) to 1.
            alone: Every frame as a picture of its own, without the temporal layers; the noise is the same.
        """
        scheduler = self.video.scheduler
        scheduler.set_timesteps(self._steps or self.video.config.default_steps)
        last = depth * scheduler.config.num_train_timesteps
        timesteps = [t for t in scheduler.timesteps if t < last]
        made = []
        for row, clip in zip(rows, clips, strict=True):
            given = self._arguments(row[None], 1.0)
            text, style = given["text_embeds"], given["style_tokens"]
            scales = self.video.predict_scales(style, text)
            encoded = self.video.vae.encode(clip * 2 - 1).latent_dist.mode()
            latents = (encoded * self.video.vae.config.scaling_factor).transpose(0, 1)[None]
            noise = draw_noise(tuple(latents.shape[1:]), given["generator"])
            if alone:
                latents, noise = (x[0].transpose(0, 1)[:, :, None] for x in (latents, noise))
                text, style, scales = (x.expand(len(clip), *x.shape[1:]) for x in (text, style, scales))
            if timesteps:
                latents = scheduler.add_noise(latents, noise, timesteps[0])
            for t in timesteps:
                predicted = self.video.predict_noise(latents, t, text, style, scales)
                latents = scheduler.step(predicted, t, latents, return_dict=False)[0]
            made.append(self.video.decode_latents(latents).flatten(0, 1))
        return torch.stack(made)

    def _arguments(self, rows: torch.Tensor, scale: float) -> dict[str, Any]:
        return {
            "text_embeds": self.text_embeds[self.set.prompt_of[rows]],
            "style_tokens": self.style_tokens[self.set.reference_of[rows]],
            "style_scale": scale,
            "num_inference_steps": self._steps,
            "generator": [make_generator(self.spec.seed * 100_003 + int(row)) for row in rows],
            "output_type": "pt",
        }

    def probe(self, question: Question, steps: int | None = None) -> Probe:
        """A probe for the model's words and size: as reports have it, or trained now in so many steps."""
        if steps is None:
            return content_probe(question, self.spec.vocabulary, self.spec.size)
        return train_probe(question, self.set.vocabulary, size=self.spec.size, steps=steps)

    def judge(self, pictures: torch.Tensor, rows: torch.Tensor, probe: Probe) -> Judgement:
        """Ask of pictures (n, 3, h, w) in [0, 1] whether they are what the pairs `rows` ask for.

        `probe` is one for objects.
        """
        own = self.set.reference_of[rows]
        distances = descriptor_distances(describe_style(pictures), describe_style(self.references))
        further = (distances > distances.gather(1, own[:, None])).float().sum(1) / (distances.shape[1] - 1)
        text = self.probability("object", probe, pictures, self.set.prompts[self.set.prompt_of[rows]])
        return Judgement(further, (further == 1).float(), text)

    @torch.no_grad()
    def probability(
        self, question: Question, probe: Probe, pictures: torch.Tensor, of: world.WorldBatch
    ) -> torch.Tensor:
        """Probability (n,) that n pictures (n, 3, h, w) show what n things are, by a probe for the question."""
        wanted = self.labels(question, of)
        seen = torch.cat([probe.clip_log_probabilities(part[:, None]) for part in pictures.split(64)])
        return seen.exp().gather(1, wanted[:, None])[:, 0]

    def labels(self, question: Question, of: world.WorldBatch) -> torch.Tensor:
        """The right answers for n things, (n,), as probes number them."""
        return labels_of(question, of, self.set.vocabulary)
