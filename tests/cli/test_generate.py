from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylecrafter.generation.record import read_record
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import read_frames
from stylecrafter.pipelines.schedulers import SCHEDULERS
from tests.cli.support import assert_one_line_error, command, environment, invoke
from tests.tiny import tiny_picture, tiny_pipeline


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def generate(model: Path, picture: Path, output: Path, *more: object, prompt: str = "a red fox"):  # type: ignore[no-untyped-def]
    return invoke("generate", prompt, "--style", picture, "-o", output, "--model", model, *more)


def pixels(path: Path) -> np.ndarray:
    return np.stack([np.asarray(frame) for frame in read_frames(path)[0]])


def test_a_clip_and_what_is_said_of_it(model: Path, picture: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder" / "a.mp4"
    result = generate(model, picture, output, "--seed", 5)
    assert result.exit_code == 0, result.stderr
    assert (
        result.stdout.startswith(str(output)) and "seed 5" in result.stdout and result.stdout.count("\n") == 1
    )
    frames, fps = read_frames(output)
    assert (len(frames), frames[0].size, fps) == (3, (24, 16), 4.0)
    assert visible(output.parent) == ["a.mp4"]
    record = read_record(output)
    assert (record.kind, record.prompt, record.seed, record.scheduler) == (
        "video",
        "a red fox",
        5,
        "DDIMScheduler",
    )
    assert (record.styles[0].name, record.styles[0].path) == ("style.png", None)
    assert record.model.name == "toy"
    assert str(tmp_path).encode() not in output.read_bytes() and b".." not in record.to_json().encode()
    assert record.versions["torch"]


def test_json_is_one_object_and_nothing_else(model: Path, picture: Path, tmp_path: Path) -> None:
    result = generate(model, picture, tmp_path / "a.gif", "--json", "--frames", 2, "--fps", 5)
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["path"] == str(tmp_path / "a.gif")
    assert (answer["frames"], answer["fps"], answer["steps"]) == (2, 5.0, 3)
    assert answer["seconds"] > 0
    assert answer["seed"] == read_record(tmp_path / "a.gif").seed


def test_progress_is_told_in_json_and_changes_nothing(model: Path, picture: Path, tmp_path: Path) -> None:
    told = generate(model, picture, tmp_path / "a.gif", "--seed", 1, "--json-progress")
    assert [json.loads(line) for line in told.stderr.splitlines()] == [
        {"step": step, "steps": 3} for step in (1, 2, 3)
    ]
    assert generate(model, picture, tmp_path / "b.gif", "--seed", 1).stderr == ""
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_a_lossless_clip_says_so_and_replays(model: Path, picture: Path, tmp_path: Path) -> None:
    one, lossy, again = (tmp_path / f"{name}.webp" for name in ("one", "lossy", "again"))
    assert generate(model, picture, one, "--seed", 1, "--lossless").exit_code == 0
    assert generate(model, picture, lossy, "--seed", 1).exit_code == 0
    assert (pixels(one) != pixels(lossy)).any()
    assert read_record(one).without_loss and not read_record(lossy).without_loss
    replayed = invoke("inspect", one, "--replay", again)
    assert replayed.exit_code == 0, replayed.stderr
    assert again.read_bytes() == one.read_bytes()
    assert invoke("inspect", one, "--replay", tmp_path / "c.mp4").exit_code == 0


def test_weights_of_pictures(model: Path, picture: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.png"
    tiny_picture(1).save(second)
    weights = ("--style-weight", 2, "--style-weight", 0.5)
    assert generate(model, picture, tmp_path / "a.png", "--style", second, *weights).exit_code == 0
    assert [style.weight for style in read_record(tmp_path / "a.png").styles] == [2.0, 0.5]


def test_a_models_own_way_of_reading_pictures_is_used_and_kept(picture: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    tiny_pipeline(default_style_corners=True).save_pretrained(own)
    few = ("--steps", 2, "--seed", 1)
    for name, more in (("own", ()), ("corners", ("--style-corners",)), ("whole", ("--no-style-corners",))):
        result = generate(own, picture, tmp_path / f"{name}.gif", *few, *more)
        assert result.exit_code == 0, result.stderr
        assert read_record(tmp_path / f"{name}.gif").style_corners is (name != "whole")
    own_way, corners, whole = (pixels(tmp_path / f"{name}.gif") for name in ("own", "corners", "whole"))
    assert (own_way == corners).all() and (own_way != whole).any()


def test_every_option_arrives(model: Path, picture: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.png"
    tiny_picture(1).save(second)
    wanted = {
        "--seed": 2**63 - 1, "--steps": 4, "--frames": 2, "--size": "32x20", "--fps": 12.5,
        "--style-scale": 0.5, "--text-guidance": 3.0, "--style-guidance": 2.0, "--negative": "blurry",
        "--scheduler": "dpm++", "--device": "cpu", "--dtype": "fp32",
    }  # fmt: skip
    flat = [str(part) for pair in wanted.items() for part in pair]
    result = generate(model, picture, tmp_path / "a.webp", "--style", second, *flat)
    assert result.exit_code == 0, result.stderr
    r = read_record(tmp_path / "a.webp")
    found = {
        "--seed": r.seed, "--steps": r.steps, "--frames": r.frames, "--size": f"{r.width}x{r.height}",
        "--fps": r.fps, "--style-scale": r.style_scale, "--text-guidance": r.text_guidance,
        "--style-guidance": r.style_guidance, "--negative": r.negative_prompt, "--scheduler": r.scheduler,
        "--device": r.device, "--dtype": "fp32" if r.dtype == "float32" else r.dtype,
    }  # fmt: skip
    assert found == wanted
    assert [style.name for style in r.styles] == ["style.png", "second.png"]
    frames, _ = read_frames(tmp_path / "a.webp")
    assert (len(frames), frames[0].size) == (2, (32, 20))


def test_png_and_one_frame_are_pictures(model: Path, picture: Path, tmp_path: Path) -> None:
    for name, more in (("a.png", []), ("b.webp", ["--frames", 1])):
        assert generate(model, picture, tmp_path / name, "--seed", 1, *more).exit_code == 0
        frames, _ = read_frames(tmp_path / name)
        assert len(frames) == 1
        assert read_record(tmp_path / name).kind == "image"


def test_seed_decides(model: Path, picture: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert generate(model, picture, tmp_path / f"{name}.png", "--seed", seed).exit_code == 0
    a, b, c = (pixels(tmp_path / f"{name}.png") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    seeds = set()
    for _ in range(3):
        result = generate(model, picture, tmp_path / "d.png", "--json")
        seeds.add(json.loads(result.stdout)["seed"])
    assert len(seeds) == 3


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_every_scheduler_runs(model: Path, picture: Path, tmp_path: Path, name: str) -> None:
    result = generate(model, picture, tmp_path / "a.png", "--scheduler", name, "--steps", 4, "--seed", 0)
    assert result.exit_code == 0, result.stderr
    assert pixels(tmp_path / "a.png").std() > 0


def test_no_metadata(model: Path, picture: Path, tmp_path: Path) -> None:
    assert generate(model, picture, tmp_path / "a.mp4", "--no-metadata").exit_code == 0
    assert read_metadata(tmp_path / "a.mp4") is None
    assert b"red fox" not in (tmp_path / "a.mp4").read_bytes()


def test_a_prompt_of_5000_words_works_with_a_warning(model: Path, picture: Path, tmp_path: Path) -> None:
    prompt = "a red fox running on a lake " * 715
    result = generate(model, picture, tmp_path / "a.mp4", prompt=prompt)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith("warning: the prompt has") and result.stderr.count("\n") == 1
    assert read_record(tmp_path / "a.mp4").prompt == prompt


def test_names_and_prompts_that_are_no_text(model: Path, picture: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        picture.rename(odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    result = generate(model, odd, tmp_path / "a.png")
    assert result.exit_code == 0, result.stderr
    assert read_record(tmp_path / "a.png").styles[0].path == "caf?.png"
    assert_one_line_error(generate(model, odd, tmp_path / "b.png", prompt="caf\udce9"), "prompt")


def unusual(path: Path, kind: str) -> Path:
    picture = tiny_picture()
    if kind == "gif":
        picture.save(path / "a.gif", save_all=True, append_images=[tiny_picture(1)], duration=50)
    elif kind == "alpha":
        picture.convert("RGBA").save(path / "a.png")
    elif kind == "cmyk":
        picture.convert("CMYK").save(path / "a.jpg")
    elif kind == "16 bit":
        Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160).save(path / "a.png")
    elif kind == "rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(path / "a.jpg", exif=exif)
    else:
        picture.convert("L").save(path / "a.png")
    return next(path.glob("a.*"))


@pytest.mark.parametrize("kind", ["gif", "alpha", "cmyk", "16 bit", "rotated", "grey"])
def test_unusual_pictures_just_work(model: Path, tmp_path: Path, kind: str) -> None:
    result = generate(model, unusual(tmp_path, kind), tmp_path / "out.png")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"--style": "missing.png"}, "no such picture"),
        ({"--style": "."}, "is a folder"),
        ({"--style": "text.png"}, "not a picture"),
        ({"--style": "empty.png"}, "is empty"),
        ({"-o": "out.avi"}, "Known: .gif, .mp4, .png, .webp"),
        ({"-o": "out"}, "output format"),
        ({"-o": "text.png/out.mp4"}, "cannot write"),
        ({"-o": "folder.mp4"}, "it is a folder"),
        ({"-o": "/proc/self/out.mp4"}, "cannot write"),
        ({"--style-weight": "-1"}, "must not be negative, but is -1.0"),
        ({"--style-weight": "nan"}, "must not be negative, but is nan"),
        ({"-o": "out.png", "--frames": "2"}, "one picture, not 2 frames"),
        ({"--model": "nowhere"}, "unknown model 'nowhere'"),
        ({"--model": "."}, "model_index.json"),
        ({"--scheduler": "magic"}, "unknown scheduler 'magic'. Known: ddim"),
        ({"--size": "25x16"}, "Nearest: 24x16 or 28x16"),
        ({"--size": "big"}, "WIDTHxHEIGHT"),
        ({"--steps": "0"}, "steps"),
        ({"--steps": "100000"}, "999"),
        ({"--frames": "0"}, "frames"),
        ({"--frames": "10000", "--size": "16000x16000"}, "use fewer frames or a smaller size"),
        ({"--fps": "0"}, "fps"),
        ({"--seed": "-1"}, "seed"),
        ({"--seed": "9223372036854775808"}, "seed"),
        ({"--text-guidance": "nan"}, "text guidance"),
        ({"--device": "gpu"}, "unknown device"),
        ({"--device": "cuda:99"}, "is not available here"),
        ({"--dtype": "int4"}, "unknown dtype"),
        ({"--dtype": "fp16", "--device": "cpu"}, "float16 does not run on a cpu"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": "  "}, "the prompt is empty"),
    ],
)
def test_bad_input(
    model: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("this is no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "out.mp4").write_bytes(b"precious")
    before = visible(tmp_path)
    options = {"--style": str(picture), "-o": "out.mp4", "--model": str(model), **arguments}
    prompt = options.pop("prompt", "a red fox")
    result = invoke("generate", prompt, *(part for pair in options.items() for part in pair))
    assert_one_line_error(result, says)
    assert visible(tmp_path) == before
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"


def test_what_does_not_fit_together(model: Path, picture: Path, tmp_path: Path) -> None:
    two = ("--style-weight", 1, "--style-weight", 2)
    assert_one_line_error(generate(model, picture, tmp_path / "a.webp", *two), "2 for 1 pictures")
    refused = generate(model, picture, tmp_path / "a.mp4", "--lossless")
    assert_one_line_error(refused, "a .mp4 is never lossless; use .webp or .png")


@pytest.mark.process
def test_bad_input_is_found_before_torch_is_loaded(model: Path, picture: Path, tmp_path: Path) -> None:
    for arguments in (
        ["--style", tmp_path / "missing.png", "-o", tmp_path / "a.mp4", "--model", model],
        ["--style", picture, "-o", tmp_path / "a.avi", "--model", model],
        ["--style", picture, "-o", tmp_path / "a.mp4", "--model", "nowhere"],
        ["--style", picture, "-o", tmp_path / "a.mp4", "--model", model, "--size", "25x25"],
        ["--style", picture, "-o", tmp_path / "a.mp4", "--model", model, "--scheduler", "magic"],
    ):
        code = (
            "import sys\nfrom stylecrafter.cli.main import app\n"
            f"try: app(['generate', 'a fox', *{[str(a) for a in arguments]!r}])\n"
            "except SystemExit as end: assert end.code == 2, end.code\n"
            "assert 'torch' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], env=environment(), check=True, capture_output=True)


def test_a_model_without_image_encoder(model: Path, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "blind"
    folder.mkdir()
    for part in model.iterdir():
        (folder / part.name).symlink_to(part)
    index = json.loads((model / "model_index.json").read_text())
    (folder / "model_index.json").unlink()
    (folder / "model_index.json").write_text(json.dumps({**index, "image_encoder": [None, None]}))
    assert_one_line_error(generate(folder, picture, tmp_path / "a.mp4"), "cannot read style pictures")


def test_a_damaged_model(model: Path, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for part in model.iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "unet").unlink()
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text((model / "unet" / "config.json").read_text())
    assert_one_line_error(generate(folder, picture, tmp_path / "a.mp4"), "unet", "no weights")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    assert_one_line_error(generate(folder, picture, tmp_path / "a.mp4"), "safetensors")


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a Unix feature")
def test_a_full_disk_is_one_line_and_keeps_the_old_file(model: Path, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"precious")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))\n"
        "import stylecrafter.media.files as files; files._PROBE_BYTES = 0\n"
        "from stylecrafter.cli.main import main; main()\n"
    )
    arguments = command("generate", "a fox", "--style", picture, "-o", folder / "a.mp4", "--model", model)[3:]
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line_error(result, "cannot write", "a.mp4")
    assert (folder / "a.mp4").read_bytes() == b"precious"
    assert visible(folder) == ["a.mp4"]


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_leaves_nothing_half(
    model: Path, picture: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"precious")
    process = subprocess.Popen(
        command(
            *("generate", "a fox", "--style", picture, "-o", folder / "a.mp4"),
            *("--model", model, "--steps", 999, "--frames", 16),
        ),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until_loaded(process)
    os.kill(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert stdout == "" and "Traceback" not in stderr
    assert visible(folder) == ["a.mp4"]
    assert (folder / "a.mp4").read_bytes() == b"precious"


def wait_until_loaded(process: subprocess.Popen[str]) -> None:
    """Wait until the process has torch in memory, so that it is past the start of Python."""
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if not maps.exists() or "libtorch" in maps.read_text():
            break
        time.sleep(0.1)
    time.sleep(2.0)
