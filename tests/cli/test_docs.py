"""docs/backbones.md and the README: every command line for a base model runs, on tiny bases of those very names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from stylecrafter.generation.record import read_record
from tests.cli.support import assert_one_line_error, invoke
from tests.pages import blocks, text_of
from tests.published_files import write_published

PAGE = "docs/backbones.md"
BASES = ("stable-diffusion-v1-5/", "stabilityai/", "Wan-AI/")


def command_lines(page: str) -> list[list[str]]:
    """Arguments of all commands of a page that name a base model of the hub."""
    lines = [
        line for block in blocks(page, "sh") for line in block.code.replace("\\\n", " ").splitlines() if line
    ]
    words = [shlex.split(line, comments=True)[1:] for line in lines]
    return [command for command in words if any(word.startswith(BASES) for word in command)]


COMMANDS = [*command_lines(PAGE), *command_lines("README.md")]
GENERATE = [command for command in COMMANDS if command[0] == "generate"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_published(folder)
    return folder


@pytest.fixture(autouse=True)
def here(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(published)


def output_of(command: list[str]) -> str:
    return command[command.index("-o") + 1]


def test_every_base_has_a_command() -> None:
    named = " ".join(word for command in GENERATE for word in command)
    for base in ("v1-5", "2-1", "xl-base", "motion-adapter", "Wan2.1"):
        assert base in named
    assert len(command_lines("README.md")) >= 5


@pytest.mark.parametrize("command", GENERATE, ids=output_of)
def test_it_makes_what_it_names(command: list[str]) -> None:
    result = invoke(*command, "--steps", "2", "--seed", "1", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    record = read_record(output_of(command))
    assert record.to_json() == json.dumps(
        {key: value for key, value in said.items() if key not in ("path", "seconds")}, sort_keys=True
    )
    assert record.model.name == f"./{command[command.index('--model') + 1]}" and record.model.sha256
    given = {word[2:].replace("-", "_") for word in command if word.startswith("--")}
    assert set(record.model.parts) == given & {"adapter", "image_encoder", "motion_adapter"}
    if output_of(command).endswith(".png"):
        assert record.kind == "image" and Image.open(output_of(command)).size == (record.width, record.height)
    else:
        assert record.kind == "video" and str(record.frames) == command[command.index("--frames") + 1]


def test_it_is_made_again_and_what_is_missing_is_named(published: Path) -> None:
    command = next(command for command in GENERATE if "ip-adapter_sdxl.bin" in " ".join(command))
    invoke(*command, "--steps", "2")
    again = invoke("inspect", output_of(command), "--replay", "again.png")
    assert again.exit_code == 0 and "same frames" in again.stdout, again.stderr
    adapter = published / "h94/IP-Adapter/sdxl_models/ip-adapter_sdxl.bin"
    moved = adapter.rename(published / "moved.bin")
    try:
        assert_one_line_error(
            invoke("inspect", output_of(command), "--replay", "again.png"), "adapter", "--adapter"
        )
        found = invoke("inspect", output_of(command), "--replay", "again.png", "--adapter", moved)
        assert "same frames" in found.stdout, found.stderr
        other = published / "stylecrafter_sdxl.ckpt"
        assert_one_line_error(
            invoke("inspect", output_of(command), "--replay", "again.png", "--adapter", other),
            "is not the one",
        )
    finally:
        moved.rename(adapter)
    shown = invoke("inspect", output_of(command)).stdout
    assert "image encoder" in shown and "ip-adapter_sdxl.bin" in shown


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] == "doctor"], ids=str)
def test_the_doctor_tells_what_it_needs(command: list[str]) -> None:
    result = invoke(*command, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["kind"], said["frames"], said["size"], said["dtype"]) == ("SDXL", 1, "32x32", "bfloat16")
    assert said["total"] == said["weights"] + said["working"] + said["process"] and said["weights"] > 0
    words = invoke(*command)
    assert words.exit_code == 0 and "working" in words.stdout


def test_the_code_runs() -> None:
    (code,) = (block.code for block in blocks(PAGE, "python"))
    names: dict[str, object] = {}
    exec(compile(code, PAGE, "exec"), names)
    assert isinstance(names["image"], Image.Image)


SD = ("--model", "stable-diffusion-v1-5/stable-diffusion-v1-5")
PLUS = ("--adapter", "h94/IP-Adapter/models/ip-adapter-plus_sd15.safetensors")
ENCODER = ("--image-encoder", "h94/IP-Adapter/models/image_encoder")
MOTION = ("--motion-adapter", "guoyww/animatediff-motion-adapter-v1-5-2")
SDXL = ("--model", "stabilityai/stable-diffusion-xl-base-1.0")
WAN = ("--model", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers")


@pytest.mark.parametrize(
    ("output", "arguments", "says"),
    [
        ("a.mp4", (*SD, *PLUS, *ENCODER), ("makes pictures", ".png", "--motion-adapter")),
        ("a.gif", (*SDXL, "--frames", "4"), ("--adapter",)),
        ("a.png", SD, ("without a style adapter", "--adapter", "--image-encoder")),
        ("a.png", (*SD, *PLUS), ("image encoder", "width 40", "--image-encoder")),
        ("a.png", (*SDXL, *PLUS, *ENCODER), ("width 16", "reads width 32")),
        ("a.png", (*SD, "--adapter", "stylecrafter_sdxl.ckpt", *ENCODER), ("width",)),
        ("a.png", (*SD, "--adapter", "painting.jpg", *ENCODER), ("JPEG",)),
        ("a.png", (*SD, "--adapter", "nowhere.bin", *ENCODER), ("nowhere.bin", "no file or folder here")),
        ("a.png", (*SD, *PLUS, *ENCODER, "--size", "21x21"), ("multiples of 4",)),
        ("a.mp4", (*SD, *PLUS, *ENCODER, *MOTION, "--frames", "9"), ("at most 8 frames",)),
        ("a.mp4", (*SDXL, *MOTION), ("motion modules",)),
        (
            "a.mp4",
            (*WAN, "--adapter", "stylemaster.safetensors", *ENCODER, "--frames", "6"),
            ("1, 5, 9", "got 6"),
        ),
        ("a.png", (*SD, "--config", "stabilityai/stable-diffusion-2-1"), ("single file",)),
    ],
)
def test_what_cannot_be_is_refused_before_the_weights_are_read(
    output: str, arguments: tuple[str, ...], says: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_weights(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr("stylecrafter.pipelines.loading.load_around", no_weights)
    asked = ("generate", "a red fox", "--style", "painting.jpg", "-o", output)
    assert_one_line_error(invoke(*asked, *arguments), *says)
    assert not Path(output).exists()


def test_a_batch_of_pictures_is_png_and_goes_on_with_its_own_adapter_alone(tmp_path: Path) -> None:
    entry = [{"prompt": "a red fox", "style_path": "painting.jpg", "steps": 1}]
    Path("fox.json").write_text(json.dumps(entry))
    asked = ("batch", "fox.json", "-o", tmp_path / "out", *SD, *PLUS, *ENCODER)
    done = invoke(*asked, "--json")
    assert done.exit_code == 0, done.stderr
    assert [file.suffix for file in (tmp_path / "out").glob("0*")] == [".png"]
    assert "finished before" in invoke(*asked, "--resume").stdout
    other = [*asked[:-3], "my-adapter", *ENCODER]
    assert_one_line_error(invoke(*other, "--resume"), "started with adapter")


def test_models_tells_what_a_base_is() -> None:
    said = invoke("models", SD[1]).stdout
    assert "Stable Diffusion" in said and "pictures" in said and "16x16" in said
    assert "docs/backbones.md" in invoke("models").stderr and "docs/backbones.md" not in text_of(PAGE)
