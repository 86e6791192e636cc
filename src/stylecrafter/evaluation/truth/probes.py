"""Small classifiers that say what a clip shows: object, scene and motion. Trained on real StyleWorld renders only.

They never see a generated picture while they learn, so that a generator cannot teach them its mistakes; every score of
them is shown beside what they reach on renders that they have not seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from stylecrafter.errors import InvalidInputError, unknown_name
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.motions import MOTION_NAMES
from stylecrafter.styleworld.objects import OBJECT_NAMES
from stylecrafter.styleworld.scenes import SCENE_NAMES

logger = logging.getLogger(__name__)

Question = Literal["object", "scene", "motion"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
#: Clips for the motion probe are shown to it in so many frames.
MOTION_FRAMES = 8
#: Frames are averaged down to this size before the motion probe sees them: motion is large, texture is not its matter.
MOTION_SIZE = 32
LABEL_SMOOTHING = 0.05


def answers_of(question: Question, vocabulary: splits.Vocabulary) -> tuple[str, ...]:
    """The names that a probe chooses among.

    Raises:
        UnknownNameError: There is no such question.
    """
    names = {"object": vocabulary.objects, "scene": vocabulary.scenes, "motion": vocabulary.motions}
    if question not in names:
        raise unknown_name("question", question, QUESTIONS)
    return names[question]


def world_indices(question: Question, vocabulary: splits.Vocabulary) -> torch.Tensor:
    """What each of `answers_of` is in a `WorldBatch`: (answers,)."""
    known = {"object": OBJECT_NAMES, "scene": SCENE_NAMES, "motion": MOTION_NAMES}
    return torch.tensor([known[question].index(name) for name in answers_of(question, vocabulary)])


def labels_of(question: Question, batch: world.WorldBatch, vocabulary: splits.Vocabulary) -> torch.Tensor:
    """The right answers for n things: positions in `answers_of`, (n,); -1 for what the vocabulary does not have.

    Raises:
        UnknownNameError: There is no such question.
    """
    known = world_indices(question, vocabulary)
    drawn = {"object": batch.thing, "scene": batch.scene, "motion": batch.motion}[question]
    return positions(drawn, known)


class PictureProbe(nn.Module):
    """Convolutions and the strongest answer of each feature: pictures (n, 3, h, w) in [0, 1] to (n, answers) logits."""

    def __init__(self, answers: int, widths: tuple[int, ...] = (32, 48, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in zip((3, *widths), widths, strict=False):
            # The first layer strides: most of the time would go into the pixels that pooling throws away.
            stride = 1 if layers else 2
            layers += [nn.Conv2d(c_in, c_out, 3, stride, padding=1), nn.BatchNorm2d(c_out), nn.ReLU()]
            if stride == 1:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], answers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(pictures * 2 - 1).amax((2, 3)))

    def clip_log_probabilities(self, clips: torch.Tensor) -> torch.Tensor:
        """Answers for clips (n, f, 3, h, w), averaged over their frames: (n, answers)."""
        logits = self(clips.flatten(0, 1))
        return logits.log_softmax(1).unflatten(0, clips.shape[:2]).mean(1)


class MotionProbe(nn.Module):
    """Convolutions over space and time: clips (n, f, 3, h, w) in [0, 1] to (n, answers) logits.

    It sees lightness and colour of small frames and what changes between them; where in the picture is kept to the end,
    because left and right differ in nothing else.
    """

    def __init__(self, answers: int, widths: tuple[int, ...] = (24, 48, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in zip((6, *widths), widths, strict=False):
            layers += [
                nn.Conv3d(c_in, c_out, 3, padding=1),
                nn.BatchNorm3d(c_out),
                nn.ReLU(),
                nn.MaxPool3d((1, 2, 2)),
            ]
        self.features = nn.Sequential(*layers)
        side = MOTION_SIZE // 2 ** len(widths)
        self.head = nn.Sequential(
            nn.Linear(widths[-1] * MOTION_FRAMES * side * side, 128), nn.ReLU(), nn.Linear(128, answers)
        )

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        chosen = clips[:, torch.linspace(0, clips.shape[1] - 1, MOTION_FRAMES).round().long()]
        small = F.adaptive_avg_pool2d(chosen.flatten(0, 1), MOTION_SIZE).unflatten(0, chosen.shape[:2])
        change = small - small.mean(1, keepdim=True)
        return self.head(self.features(torch.cat([small * 2 - 1, change * 4], 2).transpose(1, 2)).flatten(1))

    def clip_log_probabilities(self, clips: torch.Tensor) -> torch.Tensor:
        """Answers for clips (n, f, 3, h, w): (n, answers)."""
        return self(clips).log_softmax(1)


Probe = PictureProbe | MotionProbe


def make_probe(question: Question, vocabulary: splits.Vocabulary) -> Probe:
    """A probe that has learned nothing yet.

    Raises:
        UnknownNameError: There is no such question.
    """
    answers = len(answers_of(question, vocabulary))
    return MotionProbe(answers) if question == "motion" else PictureProbe(answers)


def train_probe(
    question: Question,
    vocabulary: splits.Vocabulary,
    *,
    size: int,
    steps: int,
    batch_size: int = 128,
    seed: int = 0,
) -> Probe:
    """Train a classifier on renders of the training split: half of them styled, half plain.

    Every second batch is shown softened, because what an autoencoder gives is softer than a render.

    Args:
        question: What it is to say.
        vocabulary: The words that are possible answers, and the styles and scenes that are drawn.
        size: Height and width of the renders in pixels.
        steps: Steps of AdamW.
        batch_size: Pictures a step; for "motion" a quarter as many clips.
        seed: Source of all randomness; the same seed gives the same probe.

    Returns:
        The probe, in evaluation mode.

    Raises:
        UnknownNameError: There is no such question.
        InvalidInputError: steps < 2, or a vocabulary with fewer than two answers.
    """
    answers = len(answers_of(question, vocabulary))
    if steps < 2 or answers < 2:
        raise InvalidInputError(f"{steps} steps on {answers} answers; a probe needs at least 2 of each")
    moving = question == "motion"
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = make_probe(question, vocabulary)

    def loss_at(step: int) -> torch.Tensor:
        count = max(2, batch_size // 4) if moving else batch_size
        batch = some_renders(count, generator, vocabulary, "train")
        clips = world.render(batch, size, MOTION_FRAMES if moving else 1)
        if step % 2:
            clips = softened(clips)
        return F.cross_entropy(
            probe(clips if moving else clips[:, 0]),
            labels_of(question, batch, vocabulary),
            ignore_index=-1,  # a held-out motion is drawn still, which the vocabulary may not have
            label_smoothing=LABEL_SMOOTHING,
        )

    fit(probe, loss_at, steps, question, 2e-3 if moving else 4e-3)
    return probe.eval()


def fit(
    probe: nn.Module, loss_at: Callable[[int], torch.Tensor], steps: int, name: str, learning_rate: float
) -> None:
    """Train a probe with AdamW and a one-cycle schedule.

    Args:
        probe: What learns.
        loss_at: Its loss in a step.
        steps: How many.
        name: What the probe sees, for the log.
        learning_rate: The greatest of the schedule.
    """
    optimizer = torch.optim.AdamW(probe.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    for step in range(steps):
        loss = loss_at(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            logger.info("probe of the %s: step %d of %d, loss %.3f", name, step, steps, loss.item())


def positions(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Where each of (n,) values stands in (k,) known ones, (n,); -1 for those that are not there."""
    same = values[:, None] == known
    return torch.where(same.any(1), same.long().argmax(1), -1)


def some_renders(
    n: int, generator: torch.Generator, vocabulary: splits.Vocabulary, split: world.Split
) -> world.WorldBatch:
    """n things of a split, every second one plain and the others styled."""
    batch = world.sample(n, generator, vocabulary=vocabulary, split=split)
    return batch.replace(
        style=torch.where(torch.arange(n) % 2 == 0, torch.zeros_like(batch.style), batch.style)
    )


def softened(clips: torch.Tensor) -> torch.Tensor:
    """Clips (n, f, 3, h, w) at half their sharpness."""
    frames = clips.flatten(0, 1)
    half = F.avg_pool2d(frames, 2)
    soft = F.interpolate(half, size=frames.shape[2:], mode="bilinear", align_corners=False)
    return soft.unflatten(0, clips.shape[:2])


@torch.no_grad()
def seen_in(probe: Probe, clips: torch.Tensor, batch_size: int = 16) -> torch.Tensor:
    """The answer of a probe for each of the clips (n, f, 3, h, w) in [0, 1]: positions in its answers, (n,)."""
    parts = [probe.clip_log_probabilities(part).argmax(1) for part in clips.split(batch_size)]
    return torch.cat(parts)
