"""Names of the studies."""

from __future__ import annotations

from enum import StrEnum


class Study(StrEnum):
    """An experiment of the paper, or one that it leaves open."""

    FIRST = "first"
    """The adapter on one picture, scale-adaptive fusion over prompts and references, the whole pipeline on clips."""
    ARTEFACTS = "artefacts"
    """Known temporal faults at known strength: which metrics notice them."""
    SCALES = "scales"
    """What the scale predictor predicts for styles and prompts, and whether that helps."""
    BASELINES = "baselines"
    """The method against its baselines on the same base model: tables 1, 2, S4, S6 and S7."""
    VARIANTS = "variants"
    """Adapters trained in the paper's other ways: tables 4, 5 and S8, decoupling, training strategies."""
    PAIRS = "pairs"
    """Extreme pairs of style and content, and where the method breaks."""
    OWN_PICTURES = "own_pictures"
    """What finetuning on a dozen pictures of one's own does to their style, to the text, and to other styles."""
