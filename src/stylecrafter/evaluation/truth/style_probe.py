"""A probe that sees how a picture is painted: whether two are in one style, the kind of style, and its parameters.

It learns from real renders only. In one style are a picture and any other with its palette, kind and parameters,
whatever they show; a contrastive loss (InfoNCE, van den Oord et al. 2018) brings such pairs together and keeps others
apart.

What a kind does with its parameters is its own matter, and some of it cannot be seen (the width of strokes that a
picture of flat light has none of). So the probe measures on held-out renders how well each parameter
of each kind can be told there, and only what can be told is asked of generated clips.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.truth.probes import fit, positions, softened
from stylecrafter.styleworld import splits, world
from stylecrafter.styleworld.styles import STYLE_NAMES

#: The last parameter of every kind only moves its grain about.
PARAMETERS = 3
#: A parameter counts where the probe's answers correlate so much with the truth of fresh renders.
LEAST_RELIABILITY = 0.7
#: Fresh renders of each kind that reliability is measured on.
RENDERS_PER_KIND = 48


#: Dimensions of the space in which pictures of one style lie together.
EMBEDDING = 64
TEMPERATURE = 0.1


class SeenStyle(NamedTuple):
    """What the probe says of n pictures, or of n clips.

    `kind`: (n, kinds) logits over the vocabulary's styles. `parameters`: (n, kinds, PARAMETERS) in [0, 1], one guess
    for each kind that it might be. `embedding`: (n, EMBEDDING) unit vectors; the greater their product, the more two
    pictures are in one style.
    """

    kind: torch.Tensor
    parameters: torch.Tensor
    embedding: torch.Tensor


class StyleProbe(nn.Module):
    """Convolutions and the mean and spread of each feature: pictures (n, 3, h, w) in [0, 1] to what is seen in them.

    Args:
        kinds: How many kinds of style it tells apart.
        widths: Channels of its layers.
    """

    reliability: torch.Tensor

    def __init__(self, kinds: int, widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c_out in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(c_in, c_out, 3, padding=1),
                nn.BatchNorm2d(c_out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Sequential(nn.Linear(2 * widths[-1], 256), nn.ReLU())
        self.kind = nn.Linear(256, kinds)
        self.parameters_of = nn.Linear(256, kinds * PARAMETERS)
        self.embedding = nn.Linear(2 * widths[-1] + 256, EMBEDDING)
        # How well each parameter can be told, in [-1, 1]; saved with the weights.
        self.register_buffer("reliability", torch.zeros(kinds, PARAMETERS))

    def forward(self, pictures: torch.Tensor) -> SeenStyle:
        features = self.features(pictures * 2 - 1).flatten(2)
        statistics = torch.cat([features.mean(2), features.std(2)], 1)
        hidden = self.hidden(statistics)
        return SeenStyle(
            self.kind(hidden),
            self.parameters_of(hidden).sigmoid().unflatten(1, (-1, PARAMETERS)),
            F.normalize(self.embedding(torch.cat([statistics, hidden], 1)), dim=1),
        )

    @property
    def tellable(self) -> torch.Tensor:
        """Which parameters count: bool (kinds, PARAMETERS)."""
        return self.reliability >= LEAST_RELIABILITY


def style_labels(batch: world.WorldBatch, vocabulary: splits.Vocabulary) -> torch.Tensor:
    """Positions in `vocabulary.styles` of n things, (n,); -1 for a kind that it does not have."""
    return positions(batch.style, torch.tensor([STYLE_NAMES.index(name) for name in vocabulary.styles]))


def train_style_probe(
    vocabulary: splits.Vocabulary, *, size: int, steps: int, batch_size: int = 64, seed: int = 0
) -> StyleProbe:
    """Train the probe on styled renders of the training split, and measure what it can tell on fresh ones.

    Every picture has a partner in its style. Every second batch is shown softened, because what an autoencoder gives
    is softer than a render.

    Args:
        vocabulary: The kinds of style that it tells apart, and what is drawn in them.
        size: Height and width of the renders in pixels.
        steps: Steps of AdamW.
        batch_size: Pictures a step, half of them partners of the others.
        seed: Source of all randomness; the same seed gives the same probe.

    Returns:
        The probe, in evaluation mode.

    Raises:
        InvalidInputError: Fewer than two steps, two pairs a step, or two kinds of style in the vocabulary.
    """
    kinds = len(vocabulary.styles)
    if min(steps, kinds, batch_size // 2) < 2:
        raise InvalidInputError(
            f"{steps} steps of {batch_size} pictures on {kinds} kinds of style; a probe needs at least 2 steps, "
            "2 pairs and 2 kinds"
        )
    generator = torch.Generator().manual_seed(seed + 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        probe = StyleProbe(kinds)
    pairs = batch_size // 2

    def loss_at(step: int) -> torch.Tensor:
        styles, contents = (
            world.sample(pairs, generator, vocabulary=vocabulary, split="train") for _ in range(2)
        )
        pictures = torch.cat([world.render(b, size) for b in (styles, contents.in_style_of(styles))])
        seen = probe((softened(pictures) if step % 2 else pictures)[:, 0])
        kind = style_labels(styles, vocabulary).repeat(2)
        truth = styles.style_parameters[:, :PARAMETERS].repeat(2, 1)
        mine = seen.parameters[torch.arange(2 * pairs), kind]
        loss: torch.Tensor = (
            F.cross_entropy(seen.kind, kind)
            + 10 * F.mse_loss(mine, truth)
            + pair_loss(seen.embedding[:pairs], seen.embedding[pairs:])
        )
        return loss

    fit(probe, loss_at, steps, "style", 4e-3)
    probe.eval()
    probe.reliability.copy_(reliability_of(probe, vocabulary, size, generator))
    return probe


def pair_loss(some: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
    """InfoNCE, both ways, of unit vectors (n, d): each is to find its partner among all n."""
    logits = some @ partners.T / TEMPERATURE
    own = torch.arange(len(some), device=some.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


@torch.no_grad()
def seen_style(probe: StyleProbe, pictures: torch.Tensor) -> SeenStyle:
    """What the probe says of the frames of each clip (n, f, 3, h, w) in [0, 1], averaged over them."""
    seen = probe(pictures.flatten(0, 1))
    shape = pictures.shape[:2]
    return SeenStyle(
        seen.kind.log_softmax(1).unflatten(0, shape).mean(1),
        seen.parameters.unflatten(0, shape).mean(1),
        F.normalize(seen.embedding.unflatten(0, shape).mean(1), dim=1),
    )


def reliability_of(
    probe: StyleProbe, vocabulary: splits.Vocabulary, size: int, generator: torch.Generator
) -> torch.Tensor:
    """Correlation of answer and truth for each parameter of each kind, on renders of the held-out split.

    That is where clips are asked: the first parameter of held-out styles lies in a range so narrow that what tells it
    apart in training tells nothing there.
    """
    rows = []
    for name in vocabulary.styles:
        batch = world.sample(RENDERS_PER_KIND, generator, vocabulary=vocabulary, split="held_out")
        batch = batch.replace(style=torch.full_like(batch.style, STYLE_NAMES.index(name)))
        answers = seen_style(probe, world.render(batch, size)).parameters[:, vocabulary.styles.index(name)]
        truth = batch.style_parameters[:, :PARAMETERS]
        rows.append([_correlation(a, b) for a, b in zip(answers.T, truth.T, strict=True)])
    return torch.tensor(rows)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-8))
