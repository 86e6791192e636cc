from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stylecrafter.generation.record import read_record
from stylecrafter.media.metadata import read_metadata
from stylecrafter.media.video import read_frames
from tests.cli.support import assert_one_line_error, command, environment, invoke
from tests.tiny import tiny_picture, tiny_pipeline

SHARED = Path(__file__).parents[3] / "shared" / "testset"


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    """Four clips; their pictures lie beside the file."""
    (tmp_path / "pics").mkdir()
    for i in range(2):
        tiny_picture(i).save(tmp_path / "pics" / f"{i}.png")
    return write(
        tmp_path / "list.json",
        [
            {"prompt": "a red fox", "style_path": "pics/0.png"},
            {"prompt": "a boat on a lake", "style_path": ["pics/0.png", "pics/1.png"]},
            {"prompt": "a fox running", "style_path": "pics/1.png"},
            {"prompt": "a red fox", "style_path": "pics/0.png"},
        ],
    )


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def batch(model: Path, file: Path, folder: Path, *more: object):  # type: ignore[no-untyped-def]
    return invoke("batch", file, "-o", folder, "--model", model, *more)


def outputs(folder: Path, suffix: str = ".mp4") -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob(f"*{suffix}"))
    }


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_one_output_per_entry(model: Path, entries: Path, tmp_path: Path) -> None:
    result = batch(model, entries, tmp_path / "out", "--seed", 10)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "4 made, 0 finished before, 0 failed"
    names = ["0000_a-red-fox_0", "0001_a-boat-on-a-lake_0", "0002_a-fox-running_1", "0003_a-red-fox_0"]
    assert list(outputs(tmp_path / "out")) == [f"{name}.mp4" for name in names]
    found = lines(tmp_path / "out")
    assert [line["name"] for line in found] == names
    for i, line in enumerate(found):
        file = tmp_path / "out" / line["file"]
        record = read_record(file)
        assert record.seed == 10 + i
        assert line["record"] == record.model_dump()
        assert line["sha256"] == outputs(tmp_path / "out")[file.name]
        assert len(read_frames(file)[0]) == 3
    assert [len(read_record(tmp_path / "out" / f"{name}.mp4").styles) for name in names] == [1, 2, 1, 1]


def test_progress_in_json(model: Path, entries: Path, tmp_path: Path) -> None:
    asked = ("--limit", 2, "--steps", 1, "--json", "--json-progress", "--format", "webp", "--lossless")
    result = batch(model, entries, tmp_path / "out", *asked)
    names = json.loads(result.stdout)["done"]
    told = [json.loads(line) for line in result.stderr.splitlines()]
    ends = [{"entry": i, "entries": 2, "name": name, "status": "done"} for i, name in enumerate(names)]
    assert told == [{"step": 1, "steps": 1}, ends[0], {"step": 1, "steps": 1}, ends[1]]
    assert all(line["record"]["lossless"] for line in lines(tmp_path / "out"))
    refused = batch(model, entries, tmp_path / "out", "--resume", "--steps", 1, "--format", "webp")
    assert_one_line_error(refused, "started with lossless True, not False")
    resumed = batch(model, entries, tmp_path / "out", "--resume", *asked)
    assert json.loads(resumed.stdout)["skipped"] == names


def test_an_entry_is_what_generate_makes(model: Path, entries: Path, tmp_path: Path) -> None:
    batch(model, entries, tmp_path / "out", "--seed", 10, "--limit", 1)
    style = tmp_path / "pics" / "0.png"
    alone = tmp_path / "out" / "alone.mp4"
    result = invoke("generate", "a red fox", "--style", style, "-o", alone, "--model", model, "--seed", 10)
    assert result.exit_code == 0
    assert alone.read_bytes() == (tmp_path / "out" / "0000_a-red-fox_0.mp4").read_bytes()


def test_pictures_and_json(model: Path, entries: Path, tmp_path: Path) -> None:
    result = batch(model, entries, tmp_path / "out", "--format", "png", "--limit", 2, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert len(answer["done"]) == 2 and answer["failed"] == {}
    assert all(
        len(read_frames(tmp_path / "out" / name)[0]) == 1 for name in outputs(tmp_path / "out", ".png")
    )


def test_resumed_is_as_if_it_ran_through(model: Path, entries: Path, tmp_path: Path) -> None:
    folder, whole = tmp_path / "out", tmp_path / "whole"
    assert batch(model, entries, folder, "--limit", 2).exit_code == 0
    before = outputs(folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.mp4")}
    result = batch(model, entries, folder, "--resume")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "2 made, 2 finished before, 0 failed"
    assert {name: path.stat().st_mtime_ns for name in times if (path := folder / name)} == times
    assert before.items() <= outputs(folder).items()
    seed = json.loads((folder / "batch.json").read_text())["seed"]
    assert batch(model, entries, whole, "--seed", seed).exit_code == 0
    assert outputs(whole) == outputs(folder)
    assert [line["index"] for line in lines(folder)] == [0, 1, 2, 3]


def test_failed_entries_do_not_stop_the_others(model: Path, entries: Path, tmp_path: Path) -> None:
    (tmp_path / "pics" / "1.png").write_text("no picture")
    result = batch(model, entries, tmp_path / "out")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[-1] == "2 made, 0 finished before, 2 failed"
    errors = result.stderr.splitlines()
    assert len(errors) == 2 and all(line.startswith("error: 000") and "1.png" in line for line in errors)
    assert [line["status"] for line in lines(tmp_path / "out")] == ["done", "failed", "failed", "done"]
    tiny_picture(1).save(tmp_path / "pics" / "1.png")
    again = batch(model, entries, tmp_path / "out", "--resume")
    assert again.exit_code == 0
    assert again.stdout.splitlines()[-1] == "2 made, 2 finished before, 0 failed"
    assert [line["status"] for line in lines(tmp_path / "out")] == ["done"] * 4


def test_entries_with_settings_of_their_own(model: Path, entries: Path, tmp_path: Path) -> None:
    asked = json.loads(entries.read_text())
    asked[1] |= {"seed": 3, "num_frames": 2, "size": "16x16"}
    asked[2] |= {"num_inference_steps": 2, "text_guidance_scale": 4}
    folder = tmp_path / "out"
    assert batch(model, write(entries, asked), folder, "--seed", 10, "--steps", 1).exit_code == 0
    records = [read_record(folder / name) for name in outputs(folder)]
    assert [r.seed for r in records] == [10, 3, 12, 13]
    assert [(r.frames, r.width, r.steps) for r in records] == [(3, 24, 1), (2, 16, 1), (3, 24, 2), (3, 24, 1)]
    assert records[2].text_guidance == 4.0 != records[0].text_guidance

    before = outputs(folder)
    asked[1]["seed"], asked[3]["eta"] = 4, 0.5
    again = batch(model, write(entries, asked), folder, "--steps", 1, "--resume")
    assert again.stdout.splitlines()[-1] == "2 made, 2 finished before, 0 failed"
    made_again = [i for i, (name, digest) in enumerate(outputs(folder).items()) if before[name] != digest]
    assert made_again == [1, 3]
    assert json.loads((folder / "batch.json").read_text())["seed"] == 10


@pytest.mark.parametrize(
    ("own", "more", "says"),
    [
        ({"steps": 0}, [], "entry 3: steps must be a whole number between 1 and 999, not 0"),
        ({"size": "25x25"}, [], "entry 3: size 25x25 does not fit the model"),
        ({"frames": 2}, ["--format", "png"], "entry 3: a .png holds one picture, not 2 frames"),
        ({"motion": 2}, [], "unknown key 'motion'"),
    ],
)
def test_what_an_entry_cannot_ask_is_found_before_anything_is_made(
    model: Path, entries: Path, tmp_path: Path, own: dict[str, Any], more: list[object], says: str
) -> None:
    asked = json.loads(entries.read_text())
    asked[3] |= own
    assert_one_line_error(batch(model, write(entries, asked), tmp_path / "out", *more), says)
    assert not (tmp_path / "out").exists()


def test_a_batch_of_an_earlier_version_goes_on(model: Path, entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    asked = ("--size", "16x16", "--steps", 1, "--seed", 3)
    assert batch(model, entries, folder, "--limit", 1, *asked).exit_code == 0
    shared = json.loads((folder / "batch.json").read_text())
    size = [shared.pop("width"), shared.pop("height")]
    del shared["guidance_rescale"]  # younger than the others
    write(folder / "batch.json", {**shared, "size": size})
    result = batch(model, entries, folder, "--limit", 2, "--resume", *asked)
    assert result.stdout.splitlines()[-1] == "1 made, 1 finished before, 0 failed"
    refused = batch(model, entries, folder, "--resume", "--size", "24x16", "--steps", 1)
    assert_one_line_error(refused, "started with width 16, not 24")


@pytest.mark.parametrize(
    "defaults",
    [
        {"default_style_corners": True},
        {"default_guidance_stop": 0.5},
        {"default_shared_noise": 0.5},
        {"default_style_guidance": 1.5},
    ],
)
def test_what_a_models_former_defaults_made_is_made_again(
    defaults: dict[str, Any], entries: Path, tmp_path: Path
) -> None:
    folder, own = tmp_path / "out", tmp_path / "own"
    tiny_pipeline().save_pretrained(own)
    assert batch(own, entries, folder, "--limit", 1, "--seed", 1).exit_code == 0
    before = outputs(folder)
    again = batch(own, entries, folder, "--limit", 1, "--resume")
    assert again.stdout.splitlines()[-1] == "0 made, 1 finished before, 0 failed"
    tiny_pipeline(**defaults).save_pretrained(own)  # the same weights
    again = batch(own, entries, folder, "--limit", 1, "--resume")
    assert again.stdout.splitlines()[-1] == "1 made, 0 finished before, 0 failed"
    assert outputs(folder) != before


def test_what_another_scheduler_of_the_model_made_is_made_again(entries: Path, tmp_path: Path) -> None:
    folder, own = tmp_path / "out", tmp_path / "own"
    tiny_pipeline().save_pretrained(own)
    assert batch(own, entries, folder, "--limit", 1, "--seed", 1).exit_code == 0
    before = outputs(folder)
    config = own / "scheduler" / "scheduler_config.json"
    write(config, {**json.loads(config.read_text()), "beta_end": 0.02})
    again = batch(own, entries, folder, "--limit", 1, "--resume")
    assert again.stdout.splitlines()[-1] == "1 made, 0 finished before, 0 failed"
    assert outputs(folder) != before


def test_what_is_not_as_asked_is_made_again(model: Path, entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert batch(model, entries, folder, "--seed", 1).exit_code == 0
    whole = outputs(folder)
    first, second, third, fourth = (folder / name for name in whole)
    first.write_bytes(first.read_bytes()[:-700])  # damaged on the disk
    second.unlink()
    third.write_bytes(fourth.read_bytes())  # another clip under its name
    result = batch(model, entries, folder, "--resume", "--seed", 1)
    assert result.stdout.splitlines()[-1] == "3 made, 1 finished before, 0 failed"
    assert outputs(folder) == whole


def test_lines_of_a_killed_process_are_mended(model: Path, entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert batch(model, entries, folder).exit_code == 0
    results = folder / "results.jsonl"
    kept = results.read_text().splitlines(keepends=True)
    results.write_text("".join(kept[:2]) + kept[2][:40])
    (folder / ".0003_a-red-fox_0.mp4.01234567.part").write_bytes(b"half")
    result = batch(model, entries, folder, "--resume")
    assert result.stdout.splitlines()[-1] == "0 made, 4 finished before, 0 failed"
    assert [line["index"] for line in lines(folder)] == [0, 1, 2, 3]
    assert not list(folder.glob(".*"))


def test_resume_without_settings_inside(model: Path, entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert batch(model, entries, folder, "--no-metadata", "--limit", 3).exit_code == 0
    assert all(read_metadata(folder / name) is None for name in outputs(folder))
    result = batch(model, entries, folder, "--no-metadata", "--resume")
    assert result.stdout.splitlines()[-1] == "1 made, 3 finished before, 0 failed"


def test_folders_that_are_refused(model: Path, entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    assert_one_line_error(batch(model, entries, folder), "is not empty", "--resume")
    assert_one_line_error(batch(model, entries, folder, "--resume"), "no batch was started there")
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert_one_line_error(batch(model, entries, entries), "is a file")


def test_what_stands_in_the_place_of_a_result_is_found_before_the_work(
    model: Path, entries: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert batch(model, entries, folder, "--limit", 1).exit_code == 0
    before = outputs(folder)
    (folder / "0002_a-fox-running_1.mp4").mkdir()
    assert_one_line_error(
        batch(model, entries, folder, "--resume"), "0002_a-fox-running_1.mp4: it is a folder"
    )
    (folder / "0002_a-fox-running_1.mp4").rmdir()
    assert outputs(folder) == before  # not even the second


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--steps", 4], "steps the model's default, not 4"),
        (["--seed", 4], "seed 3, not 4"),
        (["--format", "gif"], "format '.mp4', not '.gif'"),
        (["--negative", "blurry"], "negative prompt"),
        (["--style-corners"], "style corners the model's default, not True"),
    ],
)
def test_resume_with_other_settings(
    model: Path, entries: Path, tmp_path: Path, more: list[object], says: str
) -> None:
    folder = tmp_path / "out"
    assert batch(model, entries, folder, "--limit", 1, "--seed", 3).exit_code == 0
    before = outputs(folder)
    assert_one_line_error(batch(model, entries, folder, "--resume", *more), says)
    assert outputs(folder) == before


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--format", "avi"], "Known: .gif"),
        (["--format", "../../x.mp4"], "unknown output format"),
        (["--format", "x.mp4"], "unknown output format"),
        (["-o", "x" * 300], "cannot write"),
        (["--format", "png", "--frames", 2], "one picture"),
        (["--limit", 0], "limit"),
        (["--size", "25x25"], "Nearest"),
        (["--model", "nowhere"], "unknown model"),
        (["--scheduler", "magic"], "unknown scheduler"),
    ],
)
def test_bad_settings_stop_before_anything_is_made(
    model: Path, entries: Path, tmp_path: Path, more: list[object], says: str
) -> None:
    assert_one_line_error(batch(model, entries, tmp_path / "out", *more), says)
    assert not (tmp_path / "out").exists()


def test_a_wrong_file(model: Path, tmp_path: Path) -> None:
    assert_one_line_error(batch(model, tmp_path / "no.json", tmp_path / "out"), "no such file")
    assert_one_line_error(batch(model, write(tmp_path / "a.json", {}), tmp_path / "out"), "must hold a list")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff\xfe\x00", b"{" * 100_000, b'{"seed": true}', b'{"seed": 1e400}', b'{"seed": -1}',
     b'{"seed": "7"}', b'{"seed": ' + b"9" * 5000 + b"}", b'{"seed": 7', None],
)  # fmt: skip
def test_a_damaged_batch_json_is_one_line(
    model: Path, entries: Path, tmp_path: Path, content: bytes | None
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    if content is None:
        (folder / "batch.json").mkdir()
    else:
        (folder / "batch.json").write_bytes(content)
    result = batch(model, entries, folder, "--resume")
    assert_one_line_error(result, "batch.json" if content is not None else "no batch was started there")
    assert [path.name for path in folder.iterdir()] == ["batch.json"]


def test_a_damaged_list_of_results_is_mended(model: Path, entries: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert batch(model, entries, folder).exit_code == 0
    results, whole = folder / "results.jsonl", lines(folder)
    broken = [
        b"\xff\xfe\x00", b"[" * 100_000, b"3", b"{}", b'{"name": 3, "index": 1}', b'{"name": "x", "index": "1"}',
        b'{"name": "x", "index": 1e400}', b'{"name": "x", "index": ' + b"9" * 5000 + b"}", b'"\\ud800', b"\0" * 100,
    ]  # fmt: skip
    first = json.dumps({**whole[0], "record": [[]], "status": {}}).encode()
    results.write_bytes(b"\n".join([first, *broken, b""]))
    result = batch(model, entries, folder, "--resume")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "0 made, 4 finished before, 0 failed"
    assert result.stderr.startswith(f"warning: {len(broken)} lines of") and result.stderr.count("\n") == 1
    assert [{**line, "seconds": 0} for line in lines(folder)] == [{**line, "seconds": 0} for line in whole]
    results.unlink()
    results.mkdir()
    assert_one_line_error(batch(model, entries, folder, "--resume"), "results.jsonl: it is a folder")


@pytest.mark.parametrize("record", [None, 3, {}, {"frames": -1}, {"prompt": "\ud800"}])
def test_damaged_settings_of_a_result_mean_that_it_is_made_again(
    model: Path, entries: Path, tmp_path: Path, record: object
) -> None:
    folder = tmp_path / "out"
    arguments = ("--no-metadata", "--limit", 1, "--steps", 1)
    assert batch(model, entries, folder, *arguments).exit_code == 0
    (line,) = lines(folder)
    (folder / "results.jsonl").write_text(json.dumps({**line, "record": record}) + "\n")
    result = batch(model, entries, folder, *arguments, "--resume")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "1 made, 0 finished before, 0 failed"


def test_entries_that_cannot_be_are_reported_and_do_not_stop_the_others(
    model: Path, entries: Path, tmp_path: Path
) -> None:
    asked = [
        {"prompt": "a fox", "style_path": "pics/0.png"},
        {"prompt": "a fox", "style_path": "x" * 5000},
        {"prompt": "a fox", "style_path": "pics"},
        {"prompt": "a fox", "style_path": "~no-such-user/a.png"},
        {"prompt": "a fox", "style_path": "caf\udce9\ud800.png"},
        {"prompt": "caf\ud800", "style_path": "pics/0.png"},
        {"prompt": "x" * 60_000, "style_path": "pics/0.png"},
        {"prompt": "", "style_path": "pics/0.png"},
    ]
    result = batch(model, write(entries, asked), tmp_path / "out", "--format", "png", "--steps", 1)
    assert result.exit_code == 2
    assert result.stdout.splitlines()[-1] == "1 made, 0 finished before, 7 failed"
    assert result.stderr.count("\n") == 7
    assert len(lines(tmp_path / "out")) == 8


def test_a_model_that_cannot_be_loaded_stops_the_batch(model: Path, entries: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    tiny_pipeline().save_pretrained(own)
    (own / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    result = batch(own, entries, tmp_path / "out")
    assert_one_line_error(result, "error: ")
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
def test_killed_and_resumed(model: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle: no half file, nothing lost, nothing done twice."""
    tiny_picture().save(tmp_path / "s.png")
    file = write(tmp_path / "a.json", [{"prompt": f"a fox {i}", "style_path": "s.png"} for i in range(12)])
    folder = tmp_path / "out"
    arguments = ("batch", file, "-o", folder, "--model", model, "--seed", 7, "--steps", 10)
    for wanted in (2, 5):
        process = subprocess.Popen(
            command(*arguments, "--resume"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 240
        while len(list(folder.glob("*.mp4"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
        made = outputs(folder)
        assert wanted <= len(made) < 12
        for name in made:
            assert len(read_frames(folder / name)[0]) == 3
            assert read_record(folder / name).seed == 7 + int(name[:4])

    times = {name: (folder / name).stat().st_mtime_ns for name in made}
    result = invoke(*arguments, "--resume")
    assert result.exit_code == 0, result.stderr
    assert f"{12 - len(made)} made, {len(made)} finished before, 0 failed" in result.stdout
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times
    assert [line["index"] for line in lines(folder)] == list(range(12))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*outputs(folder), "batch.json", "results.jsonl"]
    )
    assert len(outputs(folder)) == 12
    assert {line["file"]: line["sha256"] for line in lines(folder)} == outputs(folder)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published test set is not beside the repository")
@pytest.mark.parametrize(
    "name", ["eval_image_gen_single_ref_half.json", "eval_video_gen_multi_ref_style2.json"]
)
def test_published_test_set_runs_unchanged(model: Path, tmp_path: Path, name: str) -> None:
    kind = "png" if "image" in name else "mp4"
    result = batch(model, SHARED / name, tmp_path / "out", "--format", kind, "--limit", 2)
    assert result.exit_code == 0, result.stderr
    assert len(outputs(tmp_path / "out", f".{kind}")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")
def test_two_at_once_are_kept_apart(model: Path, entries: Path, tmp_path: Path) -> None:
    import fcntl
    import os

    folder = tmp_path / "out"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert_one_line_error(batch(model, entries, folder), "another batch is at work")
    finally:
        os.close(descriptor)
    assert batch(model, entries, folder, "--limit", 1).exit_code == 0
