"""The paper's training strategies and its ablations, as named objects on equal terms.

A strategy says which stages follow the base, what the adapter is made of, and what it is shown. Everything else
(batch sizes, steps, rates) stays the recipe's, so that runs of two strategies differ in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from stylecrafter.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """One way to train an adapter on a frozen base."""

    name: str
    summary: str
    stages: tuple[str, ...] = ("adapter", "temporal")
    """Stages after the base, in order."""
    adapter: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Fields of the style adapter that differ from the default."""
    captions: Literal["decouple", "keep"] = "decouple"
    """Decoupled captions, or the original ones with their style words."""
    references: Literal["crop", "whole"] = "crop"
    """A large crop of the target picture, or the target picture itself."""
    cross_reference_ratio: float | None = None
    """Part of the references that show other content in the same style; None: the recipe's."""


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(name="two_stage", summary="the paper's: the adapter, then the temporal layers"),
        Strategy(
            name="adapter_only",
            summary="no temporal finetuning (table 5)",
            stages=("adapter",),
        ),
        Strategy(name="joint", summary="adapter and temporal layers together (table 5)", stages=("joint",)),
        Strategy(
            name="no_augmentation",
            summary="original captions and uncropped references (table 4)",
            captions="keep",
            references="whole",
        ),
        Strategy(
            name="full_captions",
            summary="original captions, cropped references: decoupling without its caption half",
            captions="keep",
        ),
        Strategy(
            name="whole_references",
            summary="cleaned captions, uncropped references: decoupling without its picture half",
            references="whole",
        ),
        Strategy(
            name="cross_references",
            summary="every second reference another picture in the style of the target (ours)",
            cross_reference_ratio=0.5,
        ),
        Strategy(
            name="attach_to_text",
            summary="style tokens behind the text tokens, no attention of their own (table 4)",
            adapter=MappingProxyType({"fusion_type": "attach_to_text", "scale_type": "fixed"}),
        ),
        Strategy(
            name="fixed_scales",
            summary="s = 1 in every layer instead of predicted scales (table 4)",
            adapter=MappingProxyType({"scale_type": "fixed"}),
        ),
        Strategy(
            name="mlp",
            summary="a perceptron on every image token, then their mean, as style extractor (table S8)",
            adapter=MappingProxyType({"extractor_type": "mlp"}),
        ),
        Strategy(
            name="transformer",
            summary="a plain transformer over image tokens as style extractor (table S8)",
            adapter=MappingProxyType({"extractor_type": "transformer"}),
        ),
    )
}


def find_strategy(name: str) -> Strategy:
    """The strategy of that name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return STRATEGIES[name]
