from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stylecrafter.cli.data import data_app
from stylecrafter.data.check import check_data
from stylecrafter.data.loaders import FileSource
from tests.data_sources.support import picture_folder, write_clip, write_picture
from tests.data_sources.test_loaders import broken_folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


def test_everything_is_said_of_good_and_bad_files(tmp_path: Path) -> None:
    broken_folder(tmp_path)
    write_picture(tmp_path / "a.png", 1, "a painting of a boat", size=(64, 40))
    write_picture(tmp_path / "cut.jpg", 1, size=(300, 200))
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:-200])
    checked = check_data(tmp_path, num_frames=4, missing_captions="empty")
    # With the one without and the one with an empty caption, which training skips by default.
    assert (checked.pictures, checked.clips) == (1, 6)
    assert (strict := check_data(tmp_path, num_frames=4)).clips == 4 and strict.pictures == 1
    assert strict.missing_captions == checked.missing_captions
    assert {Path(problem.name).name for problem in checked.problems} == {
        "cut.mp4", "header.mp4", "noise.mp4", "empty.mp4", "zero.mp4", "short.mp4", "latin.mp4", "cut.jpg",
    }  # fmt: skip
    assert [Path(name).name for name in checked.missing_captions] == ["silent.mp4"]
    assert [Path(name).name for name in checked.emptied_captions] == ["style.mp4"]
    assert ("a painting of a boat", "a boat") in checked.examples
    assert checked.sizes == {(48, 32): 6, (64, 40): 1}
    assert checked.seconds == pytest.approx([1.0] * 6)


def test_damage_in_the_middle_of_what_is_declared_is_found(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 24, caption="a dog")
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in check_data(tmp_path).problems[0].reason


def test_command_in_words(tmp_path: Path) -> None:
    picture_folder(tmp_path, 2)
    write_picture(tmp_path / "z.png", 3, "an oil painting of a dog")
    (tmp_path / "bad.png").write_bytes(b"")
    result = run("check", tmp_path)
    assert result.exit_code == 0, result.stderr
    for words in (
        "3 pictures and 0 clips can be used",
        "48x32 (3)",
        "1 lose words of style",
        "'an oil painting of a dog' -> 'a dog'",
        "bad.png: empty (0 bytes)",
    ):
        assert words in result.stdout


def test_what_is_said_to_be_usable_is_what_training_uses(tmp_path: Path) -> None:
    picture_folder(tmp_path, 3)
    write_picture(tmp_path / "silent.png", 3)
    write_picture(tmp_path / "style.png", 4, "a painting")
    for how, count in (("skip", 3), ("empty", 5)):
        source = FileSource(tmp_path, size=16, batch_size=1, missing_captions=how)
        shown = {source.batch(step, slice(0, 1)).frames.numpy().tobytes() for step in range(2 * len(source))}
        assert check_data(tmp_path, missing_captions=how).pictures == count == len(shown)
    result = run("check", tmp_path)
    assert "3 pictures and 0 clips can be used" in result.stdout
    assert (
        "1 without a caption (not used; missing_captions: empty uses them with an empty one)" in result.stdout
    )
    assert "5 pictures" in run("check", tmp_path, "--missing-captions", "empty").stdout


def test_command_as_json(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 8, caption="a dog, anime style")
    write_picture(tmp_path / "b.png", 1, "a cat")
    content = json.loads(run("check", tmp_path, "--kind", "clip", "--frames", 4, "--fps", 4, "--json").stdout)
    assert content["usable"] == {"pictures": 0, "clips": 1}
    assert content["seconds"]["median"] == pytest.approx(1.0)
    assert content["captions"]["examples"] == [{"before": "a dog, anime style", "after": "a dog"}]
    assert content["broken"] == [] and content["notes"] == [
        "1 picture is left aside: only clips were asked for"
    ]


def test_limit_opens_some_and_says_so(tmp_path: Path) -> None:
    checked = check_data(picture_folder(tmp_path, 10), limit=3)
    assert checked.opened == 3 and checked.pictures == 10
    assert "only 3 of 10 files were opened" in checked.notes


def test_nothing_usable_is_exit_code_2_and_still_a_report(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    result = run("check", tmp_path)
    assert result.exit_code == 2
    assert "a.png" in result.stdout and "nothing in" in result.stderr
    assert result.stderr.endswith("can be used for training: 1 broken.\n")


def test_nothing_usable_says_what_there_is_instead(tmp_path: Path) -> None:
    assert "no pictures or clips were found" in run("check", tmp_path).stderr
    write_picture(tmp_path / "a.png", 1)
    write_picture(tmp_path / "b.png", 1, "a painting")
    assert "1 without a caption, 1 with a caption of style alone." in run("check", tmp_path).stderr
    result = run("check", tmp_path, "--kind", "clip")
    assert "all 2 are of another kind than was asked for" in result.stderr
    assert "2 pictures are left aside: only clips were asked for" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no such folder"),
        ((".", "--kind", "clips"), "Did you mean 'clip'"),
        ((".", "--captions", "kep"), "Did you mean 'keep'"),
        ((".", "--frames", "0"), "at least 1"),
        ((".", "--frames", "4", "--fps", "8", "--stride", "2"), "not both"),
    ],
)
def test_bad_arguments_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = run("check", *arguments)
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1
