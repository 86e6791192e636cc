from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.evaluation.metrics.info import MetricInfo
from stylecrafter.evaluation.report import (
    PROBE_ACCURACY,
    RUNS,
    compare,
    group_rows,
    read_evaluations,
    style_name,
    summarise,
    to_json,
)
from stylecrafter.evaluation.report_page import to_html, to_markdown
from stylecrafter.evaluation.runner import ClipResult, Evaluation
from stylecrafter.media.video import write_frames
from tests.tiny import tiny_picture

GOOD = MetricInfo("good", "goodness", "higher", 0.0, 1.0, "a test", "only a test")
BAD = MetricInfo("bad", "badness", "lower", 0.0, None, "a test")
SIZE = MetricInfo("size", "size", "neither", None, None, "a test")
STYLES, PROMPTS = 8, 3


def evaluation(title: str, folder: Path, good: float = 0.5, bad: float = 3.0) -> Evaluation:
    """8 styles x 3 prompts; the styles differ by more than runs do."""
    clips = []
    for style in range(STYLES):
        for prompt in range(PROMPTS):
            i = style * PROMPTS + prompt
            scores = {"good": good + style / 100, "bad": bad - style / 10, "size": None if i else 7.0}
            styles = (str(folder / "pictures" / f"s{style}.png"),)
            clips.append(
                ClipResult(f"{i:04d}", f"a <fox> | {prompt}", styles, f"{i:04d}.webp", "ab" * 32, scores)
            )
    return Evaluation(title, folder / "clips", (GOOD, BAD, SIZE), tuple(clips), {}, {"seed": 3})


def test_means_with_styles_as_clusters(tmp_path: Path) -> None:
    rows = {info.name: interval for info, interval in summarise(evaluation("a", tmp_path)).items()}
    good, size = rows["good"], rows["size"]
    assert good is not None and size is not None
    assert good.mean == pytest.approx(0.5 + 3.5 / 100) and good.count == 24
    assert good.low < good.mean < good.high
    assert (size.mean, size.count) == (7.0, 1)


def test_scores_that_no_clip_has_are_dashes(tmp_path: Path) -> None:
    whole = evaluation("a", tmp_path)
    without = dataclasses.replace(whole, clips=whole.clips[1:])
    assert summarise(without)[SIZE] is None
    assert "| size | – |" in to_markdown([without])


def test_comparison_is_paired_and_knows_which_way_is_better(tmp_path: Path) -> None:
    first = evaluation("first", tmp_path)
    verdicts = {c.info.name: c.verdict for c in compare(first, evaluation("b", tmp_path, 0.505, 3.01))}
    assert verdicts == {"good": "better", "bad": "worse", "size": ""}
    assert [c.difference.mean for c in compare(first, first)] == [0.0] * 3
    assert not any(c.verdict for c in compare(first, first))


def test_what_was_measured_otherwise_is_not_compared(tmp_path: Path) -> None:
    first, other = evaluation("first", tmp_path), evaluation("other", tmp_path, 0.9)
    by_another = dataclasses.replace(GOOD, source="another test")
    other = dataclasses.replace(other, infos=(by_another, BAD, SIZE))
    assert [c.info.name for c in compare(first, other)] == ["bad", "size"]
    text = to_markdown([first, other])
    assert re.search(r"\| goodness \(a test\) ↑ \| 0\.535 \[[^|]+\| – \|", text)
    assert re.search(r"\| goodness \(another test\) ↑ \| – \| 0\.935 \[", text)
    assert "**goodness (another test)**: another test; 0 to 1" in text
    page = to_html([first, other])
    assert page.count("goodness (a test)") == page.count("goodness (another test)") > 0


def test_the_table_says_how_many_clips_have_a_score_and_what_its_probe_reaches(tmp_path: Path) -> None:
    first = evaluation("first", tmp_path)
    probed = dataclasses.replace(first, settings={PROBE_ACCURACY: {"good": 0.87654}})
    text = to_markdown([probed])
    assert "| size | 7 [7, 7] of 1 |  |" in text and "of 24" not in text
    assert re.search(r"\| goodness ↑ \| 0\.535 \[[^|]+\] \| 0\.877 \|", text)
    assert "The probe itself reaches 0.877" in to_html([probed])
    assert "probe itself" not in to_markdown([first])


def test_only_shared_entries_are_compared(tmp_path: Path) -> None:
    first = evaluation("first", tmp_path)
    part = dataclasses.replace(
        evaluation("part", tmp_path, 0.6), clips=evaluation("p", tmp_path, 0.6).clips[:9]
    )
    assert compare(first, part)[0].difference.count == 9
    renamed = tuple(dataclasses.replace(clip, name=f"x{clip.name}") for clip in first.clips)
    with pytest.raises(InvalidInputError, match="no entry in common"):
        compare(first, dataclasses.replace(first, clips=renamed))


def test_json_gives_back_the_evaluation(tmp_path: Path) -> None:
    whole = dataclasses.replace(evaluation("a", tmp_path), excluded={"0099": "it is missing."})
    (tmp_path / RUNS).mkdir()
    (tmp_path / RUNS / "a.json").write_text(to_json(whole, tmp_path))
    assert read_evaluations(tmp_path) == [whole]
    assert read_evaluations(tmp_path / RUNS / "a.json") == [whole]
    content = json.loads(to_json(whole, tmp_path))
    assert content["clips_in"] == "clips"  # the folder may be moved
    assert content["summary"]["good"]["mean"] == pytest.approx(0.535)
    assert all(len(clip["sha256"]) == 64 and clip["file"] for clip in content["clips"])


def test_what_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="holds no evaluation"):
        read_evaluations(tmp_path)
    with pytest.raises(InvalidInputError, match="no such file"):
        read_evaluations(tmp_path / "none.json")
    for text in ("{}", "[]", "no json", json.dumps({"format": 1, "title": "a"})):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InvalidInputError, match="no evaluation that|is not JSON"):
            read_evaluations(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(
        to_json(evaluation("a", tmp_path), tmp_path).replace('"format": 1', '"format": 9')
    )
    with pytest.raises(InvalidInputError, match="format 9"):
        read_evaluations(tmp_path / "a.json")


def test_markdown_tells_everything(tmp_path: Path) -> None:
    first = dataclasses.replace(evaluation("first", tmp_path), excluded={"0099": "it is missing."})
    text = to_markdown([first, evaluation("second", tmp_path, 0.6)])
    assert re.search(r"\| goodness ↑ \| 0\.535 \[0\.\d+, 0\.\d+\] \| 0\.635 \[", text)
    assert "## second against first" in text and "| better |" in text
    assert "- 0099: it is missing." in text and '"seed": 3' in text
    assert "a <fox> \\| 2" in text  # a bar in a prompt does not break the table
    assert "only a test" in text
    widths = [
        len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| goodness")
    ]
    assert set(widths) == {4, 5}


def test_groups_keep_their_order(tmp_path: Path) -> None:
    rows = group_rows(evaluation("a", tmp_path), style_name)
    assert [row[0] for row in rows] == [f"s{i}" for i in range(STYLES)]
    assert rows[1][1] == "0.51"


@pytest.fixture
def on_disk(tmp_path: Path) -> Evaluation:
    whole = evaluation("first <b>", tmp_path)
    (tmp_path / "pictures").mkdir()
    for style in range(STYLES):
        tiny_picture(style).save(tmp_path / "pictures" / f"s{style}.png")
    for i in range(len(whole.clips)):
        suffix = ".mp4" if i == 0 else ".webp"
        write_frames([tiny_picture(i)] * 2, whole.folder / f"{i:04d}{suffix}", 4)
    first = dataclasses.replace(whole.clips[0], file="0000.mp4")
    return dataclasses.replace(whole, clips=(first, *whole.clips[1:]))


def test_the_page_stands_alone_and_shows_clips_pictures_plots_and_tables(
    on_disk: Evaluation, tmp_path: Path
) -> None:
    second = dataclasses.replace(on_disk, title="second")
    page = to_html([on_disk, second])
    assert "http" not in page.replace("http-equiv", "")
    assert (
        "<b>" not in page.split("<h2>Scores")[0] and "a &lt;fox&gt;" in page
    )  # nothing a user names is html
    assert page.count('<video src="data:video/mp4;base64,') == 2  # the first clip of both runs
    assert page.count("data:image/webp;base64,") == 2 * (6 * 3 - 1)
    assert page.count("data:image/jpeg;base64,") == 2 * 6
    assert page.count("<svg") == 6 and "second against first" in page
    assert "style" in page and "prompt" in page and "&#34;seed&#34;: 3" in page
    assert page == to_html([on_disk, second])


def test_best_and_worst_by_the_score_that_tells_most(on_disk: Evaluation) -> None:
    telling = dataclasses.replace(GOOD, name="style_vector", title="style vector")
    clips = tuple(
        dataclasses.replace(clip, scores={"style_vector": i / 100}) for i, clip in enumerate(on_disk.clips)
    )
    page = to_html([dataclasses.replace(on_disk, infos=(telling,), clips=clips)])
    best, worst = re.findall(r"<h2>(?:Best|Worst) by style vector</h2>(.*?)</table>", page, re.S)
    assert re.findall(r"<b>(.*?)</b>", best) == ["0.23", "0.22", "0.21", "0.2", "0.19", "0.18"]
    assert re.findall(r"<b>(.*?)</b>", worst) == ["0", "0.01", "0.02", "0.03", "0.04", "0.05"]


def test_clips_and_pictures_that_are_gone_leave_a_gap(on_disk: Evaluation, tmp_path: Path) -> None:
    (on_disk.folder / "0000.mp4").unlink()
    (tmp_path / "pictures" / "s0.png").unlink()
    page = to_html([on_disk])
    assert "<video" not in page and page.count("data:image/webp") == 17 and "s0" in page
