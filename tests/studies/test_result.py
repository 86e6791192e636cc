from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from stylecrafter.evaluation.statistics import Interval
from stylecrafter.studies.plots import bars, lines
from stylecrafter.studies.result import StudyResult, Table, write_result


def interval(mean: float) -> Interval:
    return Interval(mean, mean - 0.1, mean + 0.1, 5)


def test_a_result_is_written_whole(tmp_path: Path) -> None:
    table = Table("Means", ("what", "value"), (("a|b", "1"), ("c", "2")), "Read it so.")
    sheet = Image.new("RGB", (8, 6), "red")
    result = StudyResult(
        "A study", (table,), {"plot": "<svg/>"}, {"sheet": sheet}, {"a": [1, 2]}, {"seed": 3}
    )
    file = write_result(result, tmp_path / "deep" / "out")
    text = file.read_text()
    assert text.startswith("# A study") and "| a\\|b | 1 |" in text and "Read it so." in text
    assert "![plot](plot.svg)" in text and (file.parent / "plot.svg").read_text() == "<svg/>"
    assert "![sheet](sheet.webp)" in text
    with Image.open(file.parent / "sheet.webp") as written:
        assert written.size == (8, 6)
    content = json.loads((file.parent / "study.json").read_text())
    assert content["data"] == {"a": [1, 2]} and content["settings"] == {"seed": 3}


def test_plots_are_the_same_each_time() -> None:
    pytest.importorskip("matplotlib")

    def line() -> str:
        series = {"one": [interval(1), interval(2)], "two": [interval(3), interval(1)]}
        return lines("A title", ("strength", (0.0, 0.5)), "value", series, level=1.0)

    def bar() -> str:
        return bars("A title", "value", {"first": interval(1), "second": interval(2)})

    assert line() == line() and bar() == bar()
    assert "A title" in line() and "two" in line() and "second" in bar()
