"""`stylecrafter style`, and saved styles wherever a style picture may stand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.generation.record import read_record
from stylecrafter.media.video import read_frames
from stylecrafter.references.style_library import FOLDER_VARIABLE
from tests.cli.support import assert_one_line_error, invoke
from tests.tiny import tiny_picture, tiny_pipeline


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "styles"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "styles"


@pytest.fixture
def ink(model: Path, picture: Path, library: Path) -> Path:
    """A style that is saved."""
    result = invoke("style", "save", "ink", "--style", picture, "--model", model)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{library / 'ink.safetensors'}  use it with: stylecrafter generate")
    return library / "ink.safetensors"


def generate(model: Path, output: Path, *more: object):  # type: ignore[no-untyped-def]
    return invoke("generate", "a red fox", "-o", output, "--model", model, "--seed", 7, *more)


def frames(path: Path) -> np.ndarray:
    return np.stack([np.asarray(frame) for frame in read_frames(path)[0]])


def test_a_saved_style_is_its_picture(model: Path, picture: Path, ink: Path, tmp_path: Path) -> None:
    assert generate(model, tmp_path / "a.webp", "--style", picture).exit_code == 0
    for style in ("ink", ink):
        assert generate(model, tmp_path / "b.webp", "--style", style).exit_code == 0
        assert np.array_equal(frames(tmp_path / "b.webp"), frames(tmp_path / "a.webp"))
    record = read_record(tmp_path / "b.webp")
    assert (record.styles[0].name, record.styles[0].path) == ("ink.safetensors", "styles/ink.safetensors")


def test_what_is_saved(ink: Path, picture: Path, model: Path, tmp_path: Path) -> None:
    listed = invoke("style", "list")
    assert listed.stdout == "ink  style.png, adapter of toy\n"
    found = json.loads(invoke("style", "list", "--json").stdout)["styles"]
    assert [style["name"] for style in found] == ["ink"] and found[0]["sources"][0]["name"] == "style.png"
    told = invoke("style", "show", "ink", "-o", tmp_path / "thumb.png")
    assert (
        told.exit_code == 0
        and "adapter             toy" in told.stdout
        and "style.png  sha256" in told.stdout
    )
    assert Image.open(tmp_path / "thumb.png").size == (128, 128)
    assert str(tmp_path) not in ink.read_bytes().decode("latin-1")
    first = ink.read_bytes()
    assert_one_line_error(
        invoke("style", "save", "ink", "--style", picture, "--model", model), "is there already", "--force"
    )
    assert invoke("style", "save", "ink", "--style", picture, "--model", model, "--force").exit_code == 0
    assert ink.read_bytes() == first
    assert invoke("style", "remove", "ink").stdout == f"removed {ink}\n" and not ink.exists()
    assert "no styles are saved" in invoke("style", "list").stderr


def test_another_adapter_refuses_it(ink: Path, tmp_path: Path) -> None:
    tiny_pipeline(seed=1).save_pretrained(tmp_path / "other")
    result = generate(tmp_path / "other", tmp_path / "a.gif", "--style", "ink")
    assert_one_line_error(
        result,
        "style 'ink' was made with the adapter of toy",
        "that of other",
        "save the style again from style.png",
    )
    assert not (tmp_path / "a.gif").exists()


def test_refusals(model: Path, picture: Path, ink: Path, tmp_path: Path) -> None:
    save = ("style", "save", "oil", "--model", model, "--style")
    for arguments, says in (
        (("style", "save", "../oil", "--style", picture), "is no name for a style"),
        (
            (*save, picture, "--style-weight", 1, "--style-weight", 2),
            "give --style-weight as often as --style: 2 for 1 pictures",
        ),
        ((*save, picture, "--style-weight", 0), "not all 0"),
        ((*save, "missing.png"), "missing.png: no such picture"),
        ((*save, ink), "is a safetensors checkpoint"),
        (("style", "show", "oil"), "unknown style 'oil'"),
        (("style", "show", "ink", "-o", "thumb.mp4"), "unknown picture format '.mp4'"),
        (("style", "show", "ink", "-o", ink), "unknown picture format"),
        (("style", "remove", "oil"), "Known: ink"),
    ):
        assert_one_line_error(invoke(*arguments), says)
    result = generate(model, tmp_path / "a.gif", "--style", "oil")
    assert_one_line_error(
        result, "oil: no such picture, and no style is saved under that name (saved are: ink)"
    )
    result = generate(model, tmp_path / "a.gif")
    assert_one_line_error(
        result, "--style", "give a picture or the name of a saved style; or several, with --style-at"
    )
    ink.write_bytes(b"{}")
    assert_one_line_error(generate(model, tmp_path / "a.gif", "--style", "ink"), "ink.safetensors")
    assert "warning: style" in invoke("style", "list").stderr


def test_a_picture_comes_before_a_saved_style_of_its_name(
    model: Path, picture: Path, ink: Path, tmp_path: Path
) -> None:
    tiny_picture(3).save(tmp_path / "ink", format="PNG")
    generate(model, tmp_path / "a.gif", "--style", "ink")
    assert read_record(tmp_path / "a.gif").styles[0].name == "ink"


def test_pictures_and_saved_styles_are_blended(model: Path, picture: Path, ink: Path, tmp_path: Path) -> None:
    tiny_picture(5).save(tmp_path / "b.png")
    names = {"alone": ["ink"], "twice": ["ink", picture], "mixed": ["ink", "b.png"]}
    made = {}
    for name, styles in names.items():
        given = [part for style in styles for part in ("--style", style)]
        assert generate(model, tmp_path / f"{name}.webp", *given).exit_code == 0
        made[name] = frames(tmp_path / f"{name}.webp").astype(int)
    assert abs(made["twice"] - made["alone"]).max() <= 1
    assert abs(made["mixed"] - made["alone"]).max() > 1


def test_replay(model: Path, ink: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "a.gif"
    assert generate(model, out, "--style", "ink").exit_code == 0
    replayed = invoke("inspect", out, "--replay", tmp_path / "b.gif")
    assert replayed.exit_code == 0 and "same frames" in replayed.stdout
    shutil.move(ink, tmp_path / "moved.safetensors")
    missing = invoke("inspect", out, "--replay", tmp_path / "c.gif")
    assert_one_line_error(missing, "saved style ink.safetensors is missing: say where it is now with --style")
    found = invoke("inspect", out, "--replay", tmp_path / "c.gif", "--style", tmp_path / "moved.safetensors")
    assert "same frames" in found.stdout
    tiny_picture(5).save(picture)
    assert invoke("style", "save", "ink", "--style", picture, "--model", model).exit_code == 0
    changed = invoke("inspect", out, "--replay", tmp_path / "d.gif", "--style", "ink")
    assert_one_line_error(changed, "is not the style that was used (its contents changed")


def test_styles_in_a_row(model: Path, ink: Path, tmp_path: Path) -> None:
    tiny_picture(5).save(tmp_path / "b.png")
    out = tmp_path / "a.webp"
    assert generate(model, out, "--style-at", "0:ink", "--style-at", "1.0:b.png").exit_code == 0
    assert [(style.name, style.at) for style in read_record(out).styles] == [
        ("ink.safetensors", 0.0),
        ("b.png", 1.0),
    ]
    assert "at 1" in invoke("inspect", out).stdout
    assert "same frames" in invoke("inspect", out, "--replay", tmp_path / "b.webp").stdout
    assert generate(model, tmp_path / "one.webp", "--style", "ink").exit_code == 0
    assert not np.array_equal(frames(out), frames(tmp_path / "one.webp"))
    assert "at" not in json.loads(invoke("inspect", tmp_path / "one.webp", "--json").stdout)["styles"][0]
    for given, says in (
        (["--style-at", "a.png"], "a part of the clip from 0 to 1, a colon and a picture"),
        (["--style-at", "2:ink"], "from 0 to 1"),
        (["--style-at", "nan:ink"], "from 0 to 1"),
        (["--style-at", "0:"], "from 0 to 1"),
        (["--style-at", "0:ink", "--style", "ink"], "--style-at), not both"),
        (["--style-at", "0:ink", "--style-at", "1:b.png", "--frames", 1], "need a clip of several frames"),
    ):
        assert_one_line_error(generate(model, tmp_path / "c.webp", *given), says)


def test_strengths(model: Path, picture: Path, tmp_path: Path) -> None:
    style = ("--style", picture)
    for name, more in {"a": ["--strength", "light"], "b": ["--style-scale", 0.5], "c": []}.items():
        assert generate(model, tmp_path / f"{name}.webp", *style, *more).exit_code == 0
    assert np.array_equal(frames(tmp_path / "a.webp"), frames(tmp_path / "b.webp"))
    assert not np.array_equal(frames(tmp_path / "a.webp"), frames(tmp_path / "c.webp"))
    record = read_record(tmp_path / "a.webp")
    assert (record.strength, record.style_scale) == ("light", None)
    assert read_record(tmp_path / "c.webp").style_scale == 1.0
    assert "same frames" in invoke("inspect", tmp_path / "a.webp", "--replay", tmp_path / "d.webp").stdout
    result = generate(model, tmp_path / "e.gif", *style, "--strength", "light", "--style-scale", 0.5)
    assert_one_line_error(result, "a strength or a style scale, not both")
    result = generate(model, tmp_path / "e.gif", *style, "--strength", "bold")
    assert_one_line_error(result, "unknown strength 'bold'", "light, medium, strong")
