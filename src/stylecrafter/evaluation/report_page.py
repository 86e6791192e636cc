"""The report as one html file that needs nothing beside it: clips and pictures are inside."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from stylecrafter import __version__
from stylecrafter.errors import MissingDependencyError, StyleCrafterError
from stylecrafter.evaluation.metrics.info import MetricInfo
from stylecrafter.evaluation.report import (
    all_infos,
    compare,
    described,
    group_rows,
    interval_of,
    probe_accuracy,
    shown,
    style_name,
    titled,
)
from stylecrafter.evaluation.runner import ClipResult, Evaluation
from stylecrafter.evaluation.statistics import LEVEL
from stylecrafter.media.images import load_picture

#: Side of the style pictures in the page, in pixels.
THUMBNAIL = 96
_KINDS = {".mp4": "video/mp4", ".gif": "image/gif", ".webp": "image/webp", ".png": "image/png"}
#: Best and worst cases are told by the first of these that was measured.
_TELLING = ("csd_style", "clip_style", "style_vector", "palette_nearer", "palette_distance")


@dataclass(frozen=True)
class PageOptions:
    """How many clips are shown: the first `styles` x `prompts` of each run, `extremes` best and worst of the first."""

    styles: int = 6
    prompts: int = 5
    extremes: int = 6


def to_html(
    evaluations: Sequence[Evaluation],
    options: PageOptions = PageOptions(),  # noqa: B008  # frozen
) -> str:
    """One page about all runs, the first one being compared with each of the others.

    Args:
        evaluations: At least one.
        options: How many clips are shown.

    Raises:
        MissingDependencyError: Jinja is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingDependencyError(
            "the html report needs jinja2; pip install 'stylecrafter[eval]'"
        ) from error
    text = resources.files(__package__).joinpath("report_page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    first = evaluations[0]
    return environment.from_string(text).render(
        title=f"Evaluation: {', '.join(e.title for e in evaluations)}",
        level=f"{LEVEL:.0%}",
        version=__version__,
        figures=[_figure(info, evaluations) for info in all_infos(evaluations)],
        comparisons=[_comparison(first, other) for other in evaluations[1:]],
        sheets=[_sheet(e, options) for e in evaluations],
        extremes=_extremes(first, options),
        tables=[
            _table(first, "style", style_name),
            _table(first, "prompt", lambda clip: clip.prompt),
        ],
        runs=[
            {
                "title": e.title,
                "excluded": e.excluded,
                "settings": json.dumps(e.settings, indent=1, ensure_ascii=False),
            }
            for e in evaluations
        ],
    )


def _figure(info: MetricInfo, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """A figure of all runs, with places from 0 to 100 on an axis that all of them share."""
    intervals = [interval_of(e, info) for e in evaluations]
    accuracy = probe_accuracy(evaluations, info)
    of_probe = (
        "" if accuracy is None else f". The probe itself reaches {accuracy:.3g} on fresh held-out renders"
    )
    known = [interval for interval in intervals if interval is not None]
    least = min((i.low for i in known), default=0.0) if info.lowest is None else info.lowest
    most = max((i.high for i in known), default=1.0) if info.highest is None else info.highest
    if known and most - least > 10 * (max(i.high for i in known) - least) > 0:
        most = max(i.high for i in known) * 1.1  # small figures of a long range would all stand at its start

    def place(value: float) -> float:
        return round(100 * (value - least) / (most - least), 2) if most > least else 50.0

    return {
        "title": titled(info),
        "described": f"{described(info)}{of_probe}",
        "runs": [
            {
                "title": e.title,
                "shown": shown(i, clips=len(e.clips)),
                "low": None if i is None else place(i.low),
                "high": None if i is None else place(i.high),
                "mean": None if i is None else place(i.mean),
            }
            for e, i in zip(evaluations, intervals, strict=True)
        ],
    }


def _comparison(first: Evaluation, other: Evaluation) -> dict[str, Any]:
    return {
        "title": f"{other.title} against {first.title}",
        "rows": [
            {
                "title": titled(c.info),
                "shown": f"{c.difference.mean:+.4g} [{c.difference.low:+.4g}, {c.difference.high:+.4g}]",
                "p": f"{c.difference.p_value:.3f}",
                "verdict": c.verdict,
            }
            for c in compare(first, other)
        ],
    }


def _sheet(evaluation: Evaluation, options: PageOptions) -> dict[str, Any]:
    """The first styles against the first prompts."""
    prompts = list(dict.fromkeys(clip.prompt for clip in evaluation.clips))[: options.prompts]
    by_pair: Mapping[tuple[tuple[str, ...], str], ClipResult] = {
        (clip.styles, clip.prompt): clip for clip in evaluation.clips
    }
    styles = list(dict.fromkeys(clip.styles for clip in evaluation.clips))[: options.styles]
    return {
        "title": f"Clips of {evaluation.title}",
        "prompts": prompts,
        "rows": [
            {
                "style": " + ".join(Path(path).stem for path in style),
                "pictures": _thumbnails(style),
                "clips": [_clip(by_pair.get((style, prompt)), evaluation.folder) for prompt in prompts],
            }
            for style in styles
        ],
    }


def _extremes(evaluation: Evaluation, options: PageOptions) -> list[dict[str, Any]]:
    infos = {info.name: info for info in evaluation.infos}
    name = next((name for name in _TELLING if name in infos), None)
    if name is None or not options.extremes:
        return []
    known = [clip for clip in evaluation.clips if clip.figures.get(name) is not None]
    known.sort(key=lambda clip: float(clip.figures[name] or 0.0), reverse=infos[name].better == "higher")
    groups = (("Best", known[: options.extremes]), ("Worst", known[::-1][: options.extremes]))
    return [
        {
            "title": f"{which} by {infos[name].title}",
            "cases": [
                {
                    "pictures": _thumbnails(clip.styles),
                    "clip": _clip(clip, evaluation.folder),
                    "prompt": clip.prompt,
                    "value": f"{clip.figures[name]:.3g}",
                }
                for clip in clips
            ],
        }
        for which, clips in groups
    ]


def _table(evaluation: Evaluation, what: str, of: Callable[[ClipResult], str]) -> dict[str, Any]:
    return {
        "title": f"{evaluation.title} by {what}",
        "head": [what, *(titled(info) for info in evaluation.infos)],
        "rows": group_rows(evaluation, of),
    }


def _clip(clip: ClipResult | None, folder: Path) -> dict[str, Any] | None:
    if clip is None or not (folder / clip.file).is_file():
        return None
    kind = _KINDS[Path(clip.file).suffix.lower()]
    return {
        "name": clip.name,
        "video": kind.startswith("video"),
        "data": _inline(kind, (folder / clip.file).read_bytes()),
    }


def _thumbnails(paths: Sequence[str]) -> list[str]:
    pictures = []
    for path in paths[:3]:
        try:
            picture = load_picture(path)
        except StyleCrafterError:
            continue  # the figures were measured when it was still there; the name is shown without it
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        pictures.append(_inline("image/jpeg", buffer.getvalue()))
    return pictures


def _inline(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
