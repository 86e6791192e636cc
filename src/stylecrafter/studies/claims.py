"""What the paper's tables say as orderings, and which of them hold for runs of our own."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Literal, cast

from stylecrafter.evaluation.report import SIGNIFICANT, Comparison, compare
from stylecrafter.evaluation.runner import Evaluation
from stylecrafter.studies.result import Table

Aspect = Literal["text", "style", "temporal", "warping", "leakage"]

#: The metrics that stand for an aspect here, in the order in which they are shown.
METRICS: dict[Aspect, tuple[str, ...]] = {
    "text": ("object_right", "scene_right"),
    "style": ("style_found_by_probe", "style_vector", "style_found"),
    "temporal": ("flicker",),
    "warping": ("warping_error",),
    "leakage": ("leaked",),
}


@dataclass(frozen=True)
class Claim:
    """In the paper's table `source`, run `first` is better or worse than run `other` in an aspect.

    Attributes:
        source: The table.
        first: Name of a run.
        other: Name of another.
        aspect: What is compared.
        expected: Of `first` beside `other`.
        published: The published scores of both, for the reader; None where the paper has none.
    """

    source: str
    first: str
    other: str
    aspect: Aspect
    expected: Literal["better", "worse"]
    published: tuple[float, float] | None = None


def read_claims(name: str) -> tuple[Claim, ...]:
    """The claims of that name in `claims.csv`."""
    lines = (resources.files(__package__) / "claims.csv").read_text("utf-8").splitlines()
    return tuple(
        Claim(
            row["table"],
            row["first"],
            row["other"],
            cast("Aspect", row["aspect"]),
            cast("Literal['better', 'worse']", row["expected"]),
            (float(row["published_first"]), float(row["published_other"]))
            if row["published_first"]
            else None,
        )
        for row in csv.DictReader(lines)
        if row["claims"] == name
    )


def check_claims(claims: Sequence[Claim], runs: Mapping[str, Evaluation], title: str) -> Table:
    """Every claim beside the paired differences of our runs.

    Args:
        claims: To be tested; those about a run that is not there are left out.
        runs: By name.
        title: Of the table.

    Raises:
        InvalidInputError: Two runs have no entry in common.
    """
    rows = []
    for claim in claims:
        if claim.first not in runs or claim.other not in runs:
            continue
        # `compare` says how the second differs from the first.
        found = {c.info.name: c for c in compare(runs[claim.other], runs[claim.first])}
        rows += [_row(claim, found[name]) for name in METRICS[claim.aspect] if name in found]
    note = (
        f"Difference: mean over pairs of the first minus the other, with its interval. It holds, or is reversed, where "
        f"p <= {SIGNIFICANT:g}; otherwise it is not seen here, which is no proof against it."
    )
    head = ("table", "claim", "published", "metric", "difference", "p", "verdict")
    return Table(title, head, tuple(rows), note)


def _row(claim: Claim, comparison: Comparison) -> tuple[str, ...]:
    published = "" if claim.published is None else " against ".join(f"{x:g}" for x in claim.published)
    difference = comparison.difference
    return (
        claim.source,
        f"{claim.first} {claim.expected} than {claim.other} in {claim.aspect}",
        published,
        comparison.info.title,
        f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})",
        f"{difference.p_value:.3f}",
        verdict(claim, comparison),
    )


def verdict(claim: Claim, comparison: Comparison) -> str:
    """ "holds", "reversed" or "not seen"."""
    if comparison.verdict not in ("better", "worse"):
        return "not seen"
    return "holds" if comparison.verdict == claim.expected else "reversed"
