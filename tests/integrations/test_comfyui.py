"""The nodes for ComfyUI, held to its rules without it (`comfy`), on a command that writes down how it is called."""

from __future__ import annotations

import ast
import copy
import json
import os
import shlex
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from PIL import Image

from stylecrafter.cli.main import app
from stylecrafter.generation.record import read_record
from stylecrafter.media.video import read_frames, write_frames
from stylecrafter.pipelines.sampling_params import MAX_FRAMES, MAX_SIDE, MAX_STEPS, SamplingParams
from stylecrafter.pipelines.schedulers import SCHEDULERS
from stylecrafter.runtime.seeding import MAX_SEED
from tests.cli.support import environment
from tests.integrations import comfy
from tests.integrations.comfy import CORE, PACK, execute, from_page, inputs_of, load_pack, problems
from tests.tiny import tiny_picture

PACK_NODES = load_pack().NODE_CLASS_MAPPINGS
NODES = {**CORE, **PACK_NODES}
FAKE = Path(__file__).with_name("fake_command.py")
WORKFLOWS = sorted(path.name.removesuffix(".api.json") for path in (PACK / "workflows").glob("*.api.json"))
FRAMES = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
FRAMES[2] = FRAMES[1]  # kept in the file as one frame that is shown for longer
MODEL = {
    "model": "mini",
    "adapter": "",
    "image_encoder": "",
    "motion_adapter": "",
    "config": "",
    "dtype": "auto",
    "device": "auto",
    "free_memory": True,
}


class Interrupted(Exception):
    """What ComfyUI raises once its user has pressed the button."""


class Host:
    """ComfyUI's own modules, as far as the nodes know them."""

    def __init__(self, folder: Path) -> None:
        self.output, self.input = folder / "output", folder / "input"
        self.shown: list[tuple[int, int]] = []
        self.interrupted = False
        self.unloaded = 0
        self.input.mkdir()

    def modules(self) -> dict[str, ModuleType]:
        folders, utils, management = (ModuleType(n) for n in ("folder_paths", "utils", "model_management"))
        folders.get_output_directory = lambda: str(self.output)  # type: ignore[attr-defined]
        folders.get_input_directory = lambda: str(self.input)  # type: ignore[attr-defined]
        folders.get_save_image_path = self.get_save_image_path  # type: ignore[attr-defined]
        utils.ProgressBar = lambda total: self  # type: ignore[attr-defined]
        management.throw_exception_if_processing_interrupted = self.check  # type: ignore[attr-defined]
        management.unload_all_models = self.unload  # type: ignore[attr-defined]
        management.soft_empty_cache = lambda: None  # type: ignore[attr-defined]
        names = {"comfy": ModuleType("comfy"), "comfy.utils": utils, "comfy.model_management": management}
        return {"folder_paths": folders, **names}

    def get_save_image_path(self, prefix: str, folder: str) -> tuple[str, str, int, str, str]:
        subfolder, name = os.path.split(prefix)
        whole = Path(folder, subfolder)
        whole.mkdir(parents=True, exist_ok=True)
        return str(whole), name, 1 + len(list(whole.glob(f"{name}_*"))), subfolder, prefix

    def update_absolute(self, value: int, total: int) -> None:
        self.shown.append((value, total))

    def check(self) -> None:
        if self.interrupted:
            self.interrupted = False
            raise Interrupted

    def unload(self) -> None:
        self.unloaded += 1


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    for name, module in host.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(comfy.LoadImage, "folder", host.input)
    for number, name in enumerate(("style.jpg", "ink.png", "oil.jpg")):
        tiny_picture(number).save(host.input / name)
    return host


class Fake:
    """The command that writes down how it is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_frames(FRAMES, folder / "clip.webp", fps=7, lossless=True)
        (folder / "record.json").write_text(json.dumps({"frames": 4, "fps": 7.0, "seed": 3}))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]

    def behave(self, behaviour: str) -> None:
        (self.folder / "behaviour").write_text(behaviour)

    def seen(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(f"seen-*{pattern}"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    folder = tmp_path / "fake command"
    folder.mkdir()
    words = [sys.executable, "-I", "-S", str(FAKE), str(folder)]
    monkeypatch.setenv("STYLECRAFTER_COMMAND", shlex.join(words))
    return Fake(folder)


def workflow(name: str) -> comfy.Workflow:
    content = json.loads((PACK / "workflows" / f"{name}.api.json").read_text())
    return {key: {k: node[k] for k in ("class_type", "inputs")} for key, node in content.items()}


def pictures(count: int = 1) -> torch.Tensor:
    return torch.rand(count, 8, 8, 3, generator=torch.Generator().manual_seed(count))


def style(count: int = 1, *weights: float) -> list[dict[str, Any]]:
    return [{"images": pictures(count), "weights": list(weights) or [1.0] * count}]


def sample(name: str = "StyleCrafterSample", **given: Any) -> tuple[Any, ...]:
    node = PACK_NODES[name]
    whole = {"model": MODEL, "style": style(), "seed": 3, **given}
    if name != "StyleCrafterPromptList":
        whole.setdefault("prompt", "a fox")
    return getattr(node(), node.FUNCTION)(**whole)["result"]


def options(call: list[str]) -> dict[str, list[str]]:
    """The values of every option; flags have none."""
    found: dict[str, list[str]] = {}
    before = call[: call.index("--")] if "--" in call else call
    for word, after in zip(before, [*before[1:], "--"], strict=True):
        if word.startswith("--"):
            found.setdefault(word, []).extend([] if after.startswith("--") else [after])
    return found


@pytest.mark.parametrize("name", PACK_NODES)
def test_a_node_is_what_comfyui_takes_for_one(name: str) -> None:
    node = PACK_NODES[name]
    assert load_pack().NODE_DISPLAY_NAME_MAPPINGS.keys() == PACK_NODES.keys()
    assert len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
    assert isinstance(node.CATEGORY, str) and node.DESCRIPTION
    declared = inputs_of(node)
    for kind, values, _ in declared.values():
        if "default" in values:
            allowed = kind if isinstance(kind, list) else [values["default"]]
            assert values["default"] in allowed
            assert (
                values.get("min", values["default"])
                <= values["default"]
                <= values.get("max", values["default"])
            )
    code = getattr(node, node.FUNCTION).__code__
    taken = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    assert set(taken) <= set(declared)
    assert code.co_flags & 0x08 or set(taken) == set(declared)  # **knobs take the rest


@pytest.mark.parametrize("name", WORKFLOWS)
def test_example_workflows(name: str, host: Host, fake: Fake) -> None:
    flow = workflow(name)
    assert problems(flow, NODES) == []
    assert from_page(json.loads((PACK / "workflows" / f"{name}.json").read_text()), NODES) == flow
    outputs = execute(flow, NODES)
    (key,) = [
        key for key, node in flow.items() if getattr(PACK_NODES.get(node["class_type"]), "OUTPUT_NODE", False)
    ]
    images, fps, paths = outputs[key]
    assert all(torch.equal(one, torch.from_numpy(FRAMES / np.float32(255))) for one in images)
    assert set(fps) == {12.5 if name == "video_to_video" else 7.0}
    assert all(Path(path).is_relative_to(host.output) and Path(path).is_file() for path in paths)
    assert len(fake.calls) == 1 and len(images) == (3 if name == "prompt_list" else 1)


@pytest.mark.parametrize(
    ("key", "change", "says"),
    [
        ("4", {"style": ["2", 0]}, "4.style: IMAGE is no STYLECRAFTER_STYLE"),
        ("4", {"style": "ink"}, "4.style: STYLECRAFTER_STYLE must be linked"),
        ("4", {"steps": 1000}, "4.steps: 1000 is not between 0 and 999"),
        ("4", {"strength": "mild"}, "4.strength: 'mild' is none of"),
        ("4", {"text_guidance": "lots"}, "4.own check: text guidance must be a number"),
        ("4", {"shared_noise": "nan"}, "4.own check: shared noise must be a number"),
        ("1", {"model": " "}, "1.own check: name a model"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(key: str, change: dict[str, Any], says: str) -> None:
    flow = copy.deepcopy(workflow("text_to_video"))
    flow[key]["inputs"].update(change)
    (found,) = problems(flow, NODES)
    assert says in found


def test_limits_and_choices_are_those_of_the_command() -> None:
    declared = {
        **inputs_of(PACK_NODES["StyleCrafterVideoToVideo"]),
        **inputs_of(PACK_NODES["StyleCrafterSample"]),
    }
    assert declared["scheduler"][0][1:] == list(SCHEDULERS)
    most = {name: declared[name][1]["max"] for name in ("steps", "frames", "width", "height", "fps")}
    assert most == {
        "steps": MAX_STEPS,
        "frames": MAX_FRAMES,
        "width": MAX_SIDE,
        "height": MAX_SIDE,
        "fps": 240,
    }
    assert declared["seed"][1]["max"] <= MAX_SEED
    flagged = {name for name, knob in SamplingParams.knobs().items() if knob.flag}
    renamed = {"negative_prompt": "negative"}
    assert {renamed.get(name, name) for name in flagged} <= set(declared)


def test_the_command_knows_what_it_is_told(host: Host, fake: Fake) -> None:
    model = {
        **MODEL,
        "adapter": "a.safetensors",
        "image_encoder": "clip",
        "motion_adapter": "motion",
        "config": "sd",
        "device": "cpu",
        "dtype": "float32",
    }
    numbers = dict.fromkeys(
        (
            "style_scale",
            "negative_style_scale",
            "style_frames",
            "style_steps",
            "text_guidance",
            "style_guidance",
            "guidance_stop",
            "guidance_start",
            "skip_threshold",
            "shared_noise",
        ),
        "1",
    )
    knobs: dict[str, Any] = {
        "steps": 2,
        "width": 16,
        "height": 16,
        "negative": "blurry",
        "style_layers": "up=1",
        "window": "4",
        "fast": True,
        **dict.fromkeys(("guidance_every", "reuse_every", "reuse_depth"), 2),
        **numbers,
    }
    knobs |= {
        "scheduler": "ddim",
        "strength": "light",
        "style_corners": "on",
        "style": style(2),
        "model": model,
    }
    length = {"frames": 2, "fps": 4.0}
    part = {"start": 1.0, "duration": 1.0, "inversion": True}
    sample(**{**knobs, "style": style(2, 1.0, 2.0)}, **length)
    sample("StyleCrafterVideoToVideo", images=pictures(2), denoise=0.5, **part, **knobs)
    sample("StyleCrafterPromptList", prompts="a fox", lock_style=True, **length, **knobs)
    commands: Any = typer.main.get_command(app)
    for call in fake.calls:
        known = {word for p in commands.commands[call[0]].params for word in p.opts + p.secondary_opts}
        assert set(options(call)) <= known, call[0]


def test_what_is_left_to_the_model_is_not_said(host: Host, fake: Fake) -> None:
    sample(prompt="--a fox")
    (call,) = fake.calls
    assert call[0] == "generate" and call[-2:] == ["--", "--a fox"]
    said = options(call)
    assert list(said) == [
        "--model",
        "--style",
        "--seed",
        "--lossless",
        "--output",
        "--json",
        "--json-progress",
    ]
    assert said["--output"] == [str(host.output / "stylecrafter" / "clip_00001_.webp")]
    assert host.shown == [(1, 2), (2, 2)] and host.unloaded == 1


def test_every_knob_is_said(host: Host, fake: Fake) -> None:
    model = {
        **MODEL,
        "model": "base",
        "adapter": "a.safetensors",
        "image_encoder": "clip",
        "dtype": "float16",
    }
    sample(
        model={**model, "device": "cuda:1", "free_memory": False},
        style=style(2, 2.0, 0.5),
        seed=2**53 - 1,
        steps=4,
        frames=1,
        fps=12.5,
        width=32,
        height=16,
        negative="-blurry",
        strength="strong",
        style_scale="0",
        style_layers="down=0.5,up=1",
        style_frames="0:0,1:1",
        style_steps="window(0.3,1)",
        negative_style_scale="0.5",
        text_guidance="7.5",
        style_guidance=" 3 ",
        guidance_stop="0.6",
        fast=True,
        guidance_start="0",
        guidance_every=2,
        reuse_every=3,
        reuse_depth=1,
        skip_threshold="0.05",
        shared_noise="0",
        scheduler="dpm++",
        style_corners="off",
        filename_prefix="mine/fox",
    )
    said = options(fake.calls[0])
    assert said.pop("--style")[1].endswith("style1-2.png")
    assert said == {
        "--model": ["base"], "--adapter": ["a.safetensors"], "--image-encoder": ["clip"], "--device": ["cuda:1"],
        "--dtype": ["float16"], "--style-weight": ["2", "0.5"], "--seed": [str(2**53 - 1)], "--steps": ["4"],
        "--frames": ["1"], "--fps": ["12.5"], "--style-scale": ["0"], "--strength": ["strong"],
        "--style-layers": ["down=0.5,up=1"], "--style-frames": ["0:0,1:1"], "--style-steps": ["window(0.3,1)"],
        "--negative-scale": ["0.5"],
        "--text-guidance": ["7.5"], "--style-guidance": ["3"], "--guidance-stop": ["0.6"], "--shared-noise": ["0"],
        "--fast": [], "--guidance-start": ["0"], "--guidance-every": ["2"], "--reuse-every": ["3"],
        "--reuse-depth": ["1"], "--skip-threshold": ["0.05"],
        "--negative": ["-blurry"], "--scheduler": ["dpm++"], "--no-style-corners": [], "--size": ["32x16"],
        "--lossless": [], "--output": [str(host.output / "mine" / "fox_00001_.png")], "--json": [],
        "--json-progress": [],
    }  # fmt: skip
    assert host.unloaded == 0


def test_pictures_arrive_as_they_are(host: Host, fake: Fake) -> None:
    exact = torch.from_numpy(FRAMES[:2] / np.float32(255))
    (joined,) = PACK_NODES["StyleCrafterStyle"]().collect(exact, 1.0, "1, 0.25", style(1, 3.0))
    sample(style=joined)
    said = options(fake.calls[0])
    assert said["--style-weight"] == ["3", "1", "0.25"]
    seen = fake.seen(".png")
    assert [path.name.split("-", 2)[2] for path in seen] == ["style1-1.png", "style2-1.png", "style2-2.png"]
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in seen[1:]]), FRAMES[:2])
    assert not any(Path(path).exists() for path in said["--style"])  # nothing is left of them


@pytest.mark.parametrize("weights", ["1", "1, 2, 3", "1, -2", "1, x", "1, inf"])
def test_weights_that_do_not_fit(weights: str) -> None:
    with pytest.raises(RuntimeError, match="weights must be 2 numbers from 0 on, one for every picture"):
        PACK_NODES["StyleCrafterStyle"]().collect(pictures(2), 1.0, weights)


def test_a_saved_style_is_its_name(host: Host, fake: Fake) -> None:
    (saved,) = PACK_NODES["StyleCrafterSavedStyle"]().choose(" ink ")
    sample(style=saved)
    assert options(fake.calls[0])["--style"] == ["ink"] and "--style-weight" not in options(fake.calls[0])
    (joined,) = PACK_NODES["StyleCrafterSavedStyle"]().choose("oil", 0.5, saved)
    sample(style=joined)
    said = options(fake.calls[1])
    assert (said["--style"], said["--style-weight"]) == (["ink", "oil"], ["1", "0.5"])
    sample("StyleCrafterPromptList", prompts="a fox", lock_style=False, style=saved)
    assert json.loads((fake.folder / "seen-prompts.json").read_text()) == [
        {"prompt": "a fox", "style_path": ["ink"]}
    ]


def test_a_clip_goes_in_without_loss(host: Host, fake: Fake) -> None:
    frames = torch.from_numpy(FRAMES / np.float32(255))
    _, fps, _ = sample("StyleCrafterVideoToVideo", images=frames, images_fps=24.0, denoise=0.6)
    said = options(fake.calls[0])
    assert said["--denoise"] == ["0.6"] and "--fps" not in said and "--frames" not in said
    (seen,) = fake.seen("video.webp")
    back, rate = read_frames(seen)
    assert np.array_equal(np.stack([np.asarray(frame) for frame in back]), FRAMES)
    assert rate == pytest.approx(24, rel=0.01) and fps == 24.0


def test_the_file_of_a_clip(host: Host, fake: Fake) -> None:
    node = PACK_NODES["StyleCrafterVideoToVideo"]
    (host.input / "a.mp4").write_bytes(b"one")
    before = node.IS_CHANGED(video_path="a.mp4")
    os.utime(host.input / "a.mp4", (1, 1))
    assert node.IS_CHANGED(video_path="a.mp4") != before
    assert node.IS_CHANGED(video_path="missing.mp4") == node.IS_CHANGED(video_path=None) == ""
    part = {"start": 1.5, "duration": 2.0, "inversion": True, "window": "16"}
    _, fps, _ = sample("StyleCrafterVideoToVideo", video_path=" a.mp4 ", denoise=0.0, **part)
    said = options(fake.calls[0])
    assert said["--video"] == [str(host.input / "a.mp4")] and fps == 7.0
    assert (said["--denoise"], said["--start"], said["--duration"]) == (["0"], ["1.5"], ["2"])
    assert said["--window"] == ["16"] and "--inversion" in said


@pytest.mark.parametrize("given", [{}, {"images": pictures(), "video_path": "a.mp4"}])
def test_a_clip_is_given_once(host: Host, fake: Fake, given: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="one of the two"):
        sample("StyleCrafterVideoToVideo", denoise=0.3, **given)


def test_a_list_of_prompts(host: Host, fake: Fake) -> None:
    given = {"prompts": " a fox \n\n-a boat\n", "style": style(2), "steps": 2}
    images, fps, paths = sample("StyleCrafterPromptList", lock_style=True, **given)
    assert len(images) == len(fps) == len(paths) == 2
    call = fake.calls[0]
    assert call[0] == "batch" and call[1].endswith("prompts.json")
    said = options(call)
    assert said["--output"] == [str(host.output / "stylecrafter" / "clip_00001_")]
    assert said["--format"] == ["webp"] and {"--lock-style", "--lossless"} <= set(said)
    assert [name for name in said if name.startswith("--style")] == []
    entries = json.loads((fake.folder / "seen-prompts.json").read_text())
    assert [entry["prompt"] for entry in entries] == ["a fox", "-a boat"]
    assert all(len(entry["style_path"]) == 2 for entry in entries)
    assert host.shown == [(1, 4), (2, 4), (3, 4), (4, 4)]
    sample("StyleCrafterPromptList", lock_style=False, **given)
    assert "--lock-style" not in options(fake.calls[1])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"prompts": " \n"}, "give at least one prompt"),
        ({"style": style(2, 1.0, 2.0)}, "equal weights"),
        ({"width": 32, "height": 0}, "give width and height, or 0 for both, not 32x0"),
    ],
)
def test_lists_that_cannot_be(host: Host, fake: Fake, given: dict[str, Any], says: str) -> None:
    with pytest.raises(RuntimeError, match=says):
        sample("StyleCrafterPromptList", **{"prompts": "a fox", "lock_style": True, **given})
    assert not (fake.folder / "calls.jsonl").exists()


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("fail", r"^unknown model 'nowhere'\.$"),
        ("crash", r"ValueError: odd$"),
        ("silent", r"ended with code 137 and said nothing"),
        ("chat", r"gave no json: is it the command stylecrafter\?"),
    ],
)
def test_what_the_command_says_is_the_error(
    host: Host, fake: Fake, caplog: pytest.LogCaptureFixture, behaviour: str, says: str
) -> None:
    fake.behave(behaviour)
    with pytest.raises(RuntimeError, match=says):
        sample()
    warned = ["the prompt has 90 words"] if behaviour == "fail" else []
    assert [record.getMessage() for record in caplog.records] == warned


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="processes end differently there")
@pytest.mark.parametrize("behaviour", ["hang", "deaf"])
def test_the_button_ends_the_process(
    host: Host, fake: Fake, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr(sys.modules["custom_nodes_stylecrafter.process"], "_SECONDS_TO_TIDY_UP", 0.5)
    fake.behave(behaviour)

    def press() -> None:
        while not host.shown:
            time.sleep(0.01)
        host.interrupted = True

    button = threading.Thread(target=press)
    button.start()
    with pytest.raises(Interrupted):
        sample()
    button.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int((fake.folder / "pid").read_text()), 0)


def test_where_the_command_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = sys.modules["custom_nodes_stylecrafter.command"]
    settings = tmp_path / "stylecrafter.json"
    monkeypatch.setattr(command, "SETTINGS", settings)
    monkeypatch.delenv("STYLECRAFTER_COMMAND", raising=False)
    program = tmp_path / "my programs" / "stylecrafter"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert command.find_command() == [str(program)]
    settings.write_text(json.dumps({"command": [str(program), "--one"]}))
    assert command.find_command() == [str(program), "--one"]
    monkeypatch.setenv("STYLECRAFTER_COMMAND", sys.executable)
    assert command.find_command() == [sys.executable, "-m", "stylecrafter.cli"]
    monkeypatch.setenv("STYLECRAFTER_COMMAND", str(program))  # a path with a space in it
    assert command.find_command() == [str(program)]
    monkeypatch.setenv("STYLECRAFTER_COMMAND", "/nowhere/stylecrafter")
    with pytest.raises(RuntimeError, match="/nowhere/stylecrafter' cannot be run: set STYLECRAFTER_COMMAND"):
        command.find_command()
    monkeypatch.delenv("STYLECRAFTER_COMMAND")
    for wrong in ("{", "[]", '{"command": 3}', '{"command": []}'):
        settings.write_text(wrong)
        with pytest.raises(RuntimeError, match="stylecrafter.json"):
            command.find_command()


def test_without_comfyui_nodes_run_too(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, _, first = sample()
    assert len(images) == 4 and first == str(Path("output", "stylecrafter", "clip_00001_.webp"))
    assert sample()[2].endswith("clip_00002_.webp")


def test_nothing_of_ours_is_imported() -> None:
    allowed = {"numpy", "torch", "PIL", *sys.stdlib_module_names}
    for file in PACK.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, file
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or str(node.module).split(".")[0] in allowed, file


@pytest.mark.process
def test_the_pack_loads_where_our_libraries_are_not(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('stylecrafter', 'diffusers', 'transformers', 'comfy', 'folder_paths'): sys.modules[name] = None\n"
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('pack', {str(PACK / '__init__.py')!r})\n"
        "sys.modules['pack'] = pack = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(pack)\n"
        "print(sorted(pack.NODE_CLASS_MAPPINGS))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == str(sorted(PACK_NODES))


@pytest.mark.process
def test_the_real_command_and_mini(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLECRAFTER_COMMAND", sys.executable)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    flow = workflow("text_to_video")
    flow["4"]["inputs"].update(steps=2, frames=3)
    outputs = execute(flow, NODES)
    images, fps, path = (values[0] for values in outputs["4"])
    back, rate = read_frames(path)
    assert np.array_equal(np.stack([np.asarray(f) for f in back]), images.mul(255).round().byte().numpy())
    assert len(back) == 3 and fps == 8.0 and rate == pytest.approx(8)
    assert host.shown == [(1, 2), (2, 2)]
    given = {"prompts": "a red fox\na boat on a lake", "lock_style": False, "steps": 1, "frames": 2}
    images, _, paths = sample("StyleCrafterPromptList", **given)
    assert [read_record(path).prompt for path in paths] == ["a red fox", "a boat on a lake"]
    assert [one.shape for one in images] == [(2, 64, 64, 3)] * 2 and host.shown[2:] == [(1, 2), (2, 2)]
    with pytest.raises(RuntimeError, match="unknown model 'nowhere'"):
        sample(model={**MODEL, "model": "nowhere"})


def test_the_registry_is_told_what_it_asks_for() -> None:
    project = tomllib.loads((PACK / "pyproject.toml").read_text())
    assert project["project"]["name"] and project["project"]["version"].count(".") == 2
    assert project["project"]["license"] == {"text": "Apache-2.0"}
    assert "Repository" in project["project"]["urls"]
    assert {"PublisherId", "DisplayName"} == set(project["tool"]["comfy"])
