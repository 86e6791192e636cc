"""The report as Markdown, and as one html file that needs nothing beside it: clips and pictures are inside."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
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
    table,
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


#: Styles and prompts whose clips the page shows of each run, and best and worst clips of the first.
STYLES, PROMPTS, EXTREMES = 6, 5, 6


def to_markdown(evaluations: Sequence[Evaluation]) -> str:
    """Tables of all runs side by side, the first one being compared with each of the others.

    Args:
        evaluations: At least one.

    Raises:
        MissingDependencyError: Jinja is not installed.
    """
    contents = _contents(evaluations)
    head = ["", *(f"{e.title} ({len(e.clips)} clips)" for e in evaluations)]
    scores = [[metric["title"], *(run["shown"] for run in metric["runs"])] for metric in contents["metrics"]]
    rates = [metric["of_probe"] for metric in contents["metrics"]]
    if any(rates):
        head.append("the probe itself, on fresh held-out renders")
        scores = [[*row, rate] for row, rate in zip(scores, rates, strict=True)]
    return _rendered("report_page.md", **contents, head=head, scores=scores)


def to_html(evaluations: Sequence[Evaluation]) -> str:
    """One page with all that `to_markdown` has, clips and plots; see there."""
    sheets = [_sheet(e) for e in evaluations]
    return _rendered(
        "report_page.html", **_contents(evaluations), sheets=sheets, extremes=_extremes(evaluations[0])
    )


def _rendered(template: str, **contents: Any) -> str:
    try:
        import jinja2
    except ImportError as error:
        raise MissingDependencyError("reports need jinja2; pip install 'stylecrafter[eval]'") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=template.endswith(".md"),
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(contents, table=table)


def _contents(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    first = evaluations[0]
    return {
        "title": f"Evaluation: {', '.join(e.title for e in evaluations)}",
        "level": f"{LEVEL:.0%}",
        "version": __version__,
        "metrics": [_metric(info, evaluations) for info in all_infos(evaluations)],
        "comparisons": [_comparison(first, other) for other in evaluations[1:]],
        "tables": [_table(first, "style", style_name), _table(first, "prompt", lambda clip: clip.prompt)],
        "runs": [
            {
                "title": e.title,
                "excluded": e.excluded,
                "settings": json.dumps(e.settings, indent=1, ensure_ascii=False),
            }
            for e in evaluations
        ],
    }


def _metric(info: MetricInfo, evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """The scores of all runs, with places from 0 to 100 on an axis that all of them share."""
    intervals = [interval_of(e, info) for e in evaluations]
    accuracy = probe_accuracy(evaluations, info)
    known = [interval for interval in intervals if interval is not None]
    least = min((i.low for i in known), default=0.0) if info.lowest is None else info.lowest
    most = max((i.high for i in known), default=1.0) if info.highest is None else info.highest
    if known and most - least > 10 * (max(i.high for i in known) - least) > 0:
        most = max(i.high for i in known) * 1.1  # small scores of a long range would all stand at its start

    def place(value: float) -> float:
        return round(100 * (value - least) / (most - least), 2) if most > least else 50.0

    return {
        "name": info.title,
        "title": titled(info),
        "described": described(info),
        "of_probe": "" if accuracy is None else f"{accuracy:.3g}",
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
            (
                titled(c.info),
                f"{c.difference.mean:+.4g} [{c.difference.low:+.4g}, {c.difference.high:+.4g}]",
                f"{c.difference.p_value:.3f}",
                c.verdict,
            )
            for c in compare(first, other)
        ],
    }


def _sheet(evaluation: Evaluation) -> dict[str, Any]:
    """The first styles against the first prompts."""
    prompts = list(dict.fromkeys(clip.prompt for clip in evaluation.clips))[:PROMPTS]
    by_pair: Mapping[tuple[tuple[str, ...], str], ClipResult] = {
        (clip.styles, clip.prompt): clip for clip in evaluation.clips
    }
    styles = list(dict.fromkeys(clip.styles for clip in evaluation.clips))[:STYLES]
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


def _extremes(evaluation: Evaluation) -> list[dict[str, Any]]:
    infos = {info.name: info for info in evaluation.infos}
    name = next((name for name in _TELLING if name in infos), None)
    if name is None:
        return []
    known = [clip for clip in evaluation.clips if clip.scores.get(name) is not None]
    known.sort(key=lambda clip: float(clip.scores[name] or 0.0), reverse=infos[name].better == "higher")
    groups = (("Best", known[:EXTREMES]), ("Worst", known[::-1][:EXTREMES]))
    return [
        {
            "title": f"{which} by {infos[name].title}",
            "cases": [
                {
                    "pictures": _thumbnails(clip.styles),
                    "clip": _clip(clip, evaluation.folder),
                    "prompt": clip.prompt,
                    "value": f"{clip.scores[name]:.3g}",
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
            continue  # the scores were measured when it was still there; the name is shown without it
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        pictures.append(_inline("image/jpeg", buffer.getvalue()))
    return pictures


def _inline(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
