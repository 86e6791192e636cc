"""The metrics that an evaluation asks of every clip, with the weights that a user named for them."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from stylecrafter.evaluation.clip_metrics import (
    AppearanceMetric,
    ClipMetric,
    Metric,
    SimilarityMetric,
    TemporalMetric,
)
from stylecrafter.evaluation.metrics.encoders import ClipEncoder, CsdEncoder, DinoEncoder, StyleVectorEncoder
from stylecrafter.evaluation.metrics.info import metric_info
from stylecrafter.evaluation.metrics.raft import RaftFlow
from stylecrafter.evaluation.metrics.similarity import PUBLISHED_CLIP
from stylecrafter.evaluation.named_weights import check_encoder, check_files
from stylecrafter.evaluation.request import EvaluationRequest
from stylecrafter.evaluation.testset import TestSet
from stylecrafter.evaluation.truth.world_metric import world_metric
from stylecrafter.generation.settings import GenerationSettings, look_up
from stylecrafter.media.documents import is_folder
from stylecrafter.runtime.devices import resolve_device
from stylecrafter.weights.folders import weight_files
from stylecrafter.weights.tensor_files import read_file

logger = logging.getLogger(__name__)

PROBES = "probes"


def check_weights(request: EvaluationRequest) -> None:
    """Refuse what can be no metric's weights at once: clips may take hours, and a hub is asked many times.

    Raises:
        CheckpointError: The message names the option.
    """
    if request.clip is not None:
        check_encoder(request.clip, "--clip", "CLIP", "clip")
    if request.dino is not None:
        check_encoder(request.dino, "--dino", "DINO")
    check_files({"--csd": request.csd, "--raft": request.raft})


def metrics_for(
    request: EvaluationRequest, testset: TestSet, target: Path
) -> tuple[list[Metric], dict[str, float]]:
    """All that a request asks of every clip, and what the probes among them reach on renders.

    Args:
        request: Its metrics are looked at, and nothing else.
        testset: What the clips are made from.
        target: Folder that keeps probes.

    Raises:
        InvalidInputError: A metric's weights cannot be read.
        ImageReadError: A style picture cannot be read.
        MissingDependencyError: A metric needs a package that is not installed.
        OutputError: The folder cannot be written.
    """
    pictures = testset.load_pictures()
    device = resolve_device(request.settings.device)
    metrics: list[Metric] = [AppearanceMetric(pictures), _temporal(request.raft, device)]
    if request.style_vector:
        vectors = StyleVectorEncoder()
        metrics.append(
            SimilarityMetric(
                metric_info("style_vector", vectors.name), vectors, pictures, as_large_as_frames=True
            )
        )
    if request.clip is not None:
        if request.clip != PUBLISHED_CLIP:
            logger.warning(
                "CLIP scores of %s do not compare with published ones, which use %s",
                request.clip,
                PUBLISHED_CLIP,
            )
        prompts = [entry.prompt for entry in testset.entries]
        encoder = ClipEncoder(request.clip, device)
        if request.clips is None and _reads_references(request.settings, encoder):
            logger.warning(
                "%s has the image tower that %s reads references with: the generator was trained to please it",
                request.clip,
                request.settings.model,
            )
        metrics.append(ClipMetric(encoder, pictures, prompts))
    if request.dino is not None:
        dino = DinoEncoder(request.dino, device)
        metrics.append(SimilarityMetric(metric_info("dino_style", dino.name), dino, pictures))
    if request.csd is not None:
        csd = CsdEncoder(request.csd, device=device)
        metrics.append(SimilarityMetric(metric_info("csd_style", Path(csd.name).name), csd, pictures))
    if testset.truth is None:
        return metrics, {}
    metric, accuracy = world_metric(testset.truth, target / PROBES)
    return [*metrics, metric], accuracy


def _temporal(raft: Path | None, device: torch.device) -> TemporalMetric:
    if raft is None:
        return TemporalMetric()
    flow = RaftFlow(raft, device)
    return TemporalMetric(flow, flow.name, flow.digest)


def _reads_references(settings: GenerationSettings, encoder: ClipEncoder) -> bool:
    """Whether the model's image encoder is the image tower of this CLIP."""
    facts = look_up(settings)
    given = facts.parts.get("image_encoder")
    folder = facts.folder / "image_encoder" if given is None else given.path
    if not is_folder(folder):
        return False
    theirs = encoder.first_layer
    for file in weight_files(folder, of_diffusers=False):
        for name, own in read_file(file, "image encoder").items():
            if name.endswith("patch_embedding.weight"):
                # Models are often kept in half precision.
                return own.shape == theirs.shape and torch.allclose(own.float(), theirs, rtol=1e-2, atol=1e-4)
    return False
