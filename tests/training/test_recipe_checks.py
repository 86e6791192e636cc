"""Every field of a recipe has its range, parts must fit together, and all that is wrong is told at once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stylecrafter.errors import InvalidInputError
from stylecrafter.training.from_scratch.encoder_stages import AutoencoderConfig
from stylecrafter.training.recipe_files import load_recipe
from stylecrafter.training.stages import DiffusionConfig
from stylecrafter.training.train_config import TrainConfig

TEXT = """
name: test
model: {preset: mini}
data:
  styled: {kind: styleworld, batch_size: 4, references: crop}
  clips: {kind: styleworld, batch_size: 2, num_frames: 4, styled_ratio: 0.0}
  mine: {kind: files, path: pictures, batch_size: 4, references: crop}
  films: {kind: files, path: films, batch_size: 2, num_frames: 8, fps: 8}
  mixed: {kind: mix, of: {styled: 1, mine: 2}, batch_size: 4}
stages:
  - {stage: autoencoder, pictures: mixed, train: {steps: 5, learning_rate: 1.0e-3}}
  - {stage: adapter, pictures: mixed, train: {steps: 5, learning_rate: 1.0e-3}}
  - {stage: temporal, pictures: styled, clips: films, train: {steps: 5, learning_rate: 1.0e-3}}
samples: {prompts: [a dog]}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "test.yaml"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize(
    "change",
    [
        *(f"seed={value}" for value in ("-1", "1.5", "true", ".nan", "9223372036854775808")),
        *(f"data.styled.{field}={value}"
          for field in ("batch_size", "num_frames", "styles_per_content", "motions_per_content")
          for value in ("0", "-1", "1.5", "true", "x", "1000000000000")),
        *(f"data.styled.{field}={value}"
          for field in ("styled_ratio", "unnamed_style_ratio", "cross_reference_ratio")
          for value in ("-0.1", "1.1", ".nan", ".inf", "true", "x")),
        *(f"data.styled.{change}" for change in
          ("size=0", "size=8", "size=-64", "size=72", "span=[1, 0]", "span=[0, 2]", "span=[0]", "span=[.nan, 1]",
           "motions=[lift]", "captions=ful", "references=crops", "vocabulary=smal", "kind=styleworl")),
        *(f"data.mine.{change}" for change in
          ("size=0", "height=4", "width=-1", "size=70", "height=72", "workers=-1", "workers=1000", "stride=0", "fps=0",
           "fps=-1", "fps=.inf", "missing_captions=no", "style_groups=all", "stride=2", "fps=8", "num_frames=4")),
        "data.films.stride=2",
        *(f"data.mixed.{change}" for change in
          ("of={}", "of={styled: 0}", "of={styled: -1, mine: 2}", "of={styled: .nan}", "of={styled: .inf}",
           "of={styled: true}", "of={styled: 1, stiled: 1}", "of={mixed: 1}", "of={styled: 1, clips: 1}",
           "of={styled: 1, mine: 0.000001}", "unit=row", "batch_size=0")),
        *(f"stages.adapter.train.{change}" for change in
          ("steps=0", "steps=-1", "steps=1.5", "learning_rate=0", "learning_rate=-1", "learning_rate=.nan",
           "learning_rate=.inf", "warmup_steps=-1", "warmup_steps=6", "final_lr_ratio=-3", "final_lr_ratio=1.5",
           "weight_decay=-1", "weight_decay=.inf", "betas=[2, 3]", "betas=[0.9]", "betas=[0.9, 1]", "betas=[-1, 0.9]",
           "betas=0.9", "gradient_clip=0", "gradient_clip=.nan", "ema_decay=1", "ema_decay=-0.1", "ema_decay=.nan",
           "weight_interpolation=0",
           "weight_interpolation=1.5", "mixed_precision=fp8", "bf16_compute=2", "accumulation=0", "accumulation=3",
           "sharding=half", "checkpoint_minutes=-1", "checkpoint_minutes=.nan", "checkpoint_minutes=.inf",
           "keep_checkpoints=0", "log_every=0", "sample_every=-1", "seed=1.5", "seed=true")),
        *(f"stages.temporal.options.{change}" for change in
          ("clip_ratio=1.5", "clip_ratio=.nan", "clip_ratio=0", "clip_ratio=1", "text_dropout=2",
           "logit_normal_ratio=-1", "timestep_shift=0", "timestep_shift=.inf", "clip_timestep_shift=-1",
           "shared_noise=1.1", "picture_reuse=0",
           "clip_reuse=1.5", "scale_penalty=-1", "scale_penalty=.nan", "seed=x")),
        *(f"stages.autoencoder.{change}" for change in
          ("options.kl_weight=-1", "options.texture_weight=.inf", "options.seed=true", "clips=films", "pictures=null",
           "train.bf16_compute=true", "position_interpolation=2", "stage=decoders")),
        *(f"stages.temporal.{change}" for change in
          ("position_interpolation=0.5", "position_interpolation=.nan", "position_interpolation=.inf",
           "pictures=null", "clips=null", "clips=styled",
           "pictures=films", "pictures=nothing", "name=../x", "name=model", "name=model_base", "name=" + "a" * 300)),
        *(f"samples.{change}" for change in
          ("prompts=[]", "prompts=['']", "prompts=[' ']", "num_frames=0", "seed=-1", "steps=0", "steps=1000")),
        "trackers=[cvs]", "name=a/b", "name=" + "a" * 300, "model.pretrained=mini", "model.attention_levels=[true]",
        "stages=[]", "data={}", "adapter.num_style_tokens=0",
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused_when_the_recipe_is_read(path: Path, change: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_recipe(path, [change])
    key = change.partition("=")[0]
    # The value's own key, or the place that it does not go with.
    assert (
        key.split(".")[-1] in str(caught.value)
        or "stages." in str(caught.value)
        or "data." in str(caught.value)
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    ["stages.adapter.train.gradient_clip=.inf", "stages.adapter.train.warmup_steps=5", "data.films.size=48",
     "data.mixed.unit=steps", "stages.adapter.train.seed=-5",
     "stages.adapter.train.final_lr_ratio=1", "stages.adapter.train.checkpoint_minutes=0",
     "stages.adapter.train.bf16_compute=yes", "stages.adapter.train.accumulation=4", "stages.adapter.name=adapter",
     "stages.adapter.train.betas=[0, 0]", "data.styled.span=[1, 1]", "stages.autoencoder.pictures=films"],
)  # fmt: skip
def test_the_ends_of_the_ranges_are_right(path: Path, change: str) -> None:
    load_recipe(path, [change])


def test_everything_that_is_wrong_is_told_at_once(path: Path) -> None:
    wrong = TEXT
    for old, new in (
        ("batch_size: 4, references", "batch_sise: 4, references"),
        ("{preset: mini}", "{preset: mimi}"),
        ("fps: 8", "fps: -8"),
        (
            "pictures: mixed, train: {steps: 5, learning_rate: 1.0e-3}",
            "pictures: mixt, train: {steps: 0, rate: 1}",
        ),
        ("clips: films,", "clip: films,"),
        ("prompts: [a dog]", "prompts: [yes]"),
        ("name: test", "name: 2024"),
    ):
        assert old in wrong
        wrong = wrong.replace(old, new, 1)
    path.write_text(wrong)
    with pytest.raises(InvalidInputError) as caught:
        load_recipe(path)
    said = str(caught.value)
    for clause in (
        "data.styled: unknown key 'batch_sise'. Did you mean 'batch_size'?",
        "data.styled.batch_size is missing",
        "Did you mean 'mini'?",
        "data.films.fps must be above 0, got -8",
        "stages.0.train.steps must be at least 1, got 0",
        "stages.0.train.learning_rate is missing",
        "stages.0.train: unknown key 'rate'",
        "stages.0.pictures: unknown source 'mixt'. Did you mean 'mixed'?",
        "stages.2: unknown key 'clip'. Did you mean 'clips'?",
        "samples.prompts.0 must be text, got True",
        "put quotes around the text",
        "name must be text, got 2024",
    ):
        assert clause in said, clause
    assert "more)" not in said and said.count("(1)") == 1 and "\n" not in said


@pytest.mark.parametrize(
    ("old", "new"),
    [("path: pictures", "path: 2024_01_15"), ("path: pictures", "path: on"), ("path: pictures", "path: 2024-01-15"),
       ("path: pictures", "path: null"),
     ("[a dog]", "[a: dog]"), ("[a dog]", "[1e3, 1.5]"), ("name: test", "name: 1.5")],
)  # fmt: skip
def test_text_that_yaml_reads_as_something_else_is_to_be_quoted(path: Path, old: str, new: str) -> None:
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InvalidInputError, match="quotes"):
        load_recipe(path)


@pytest.mark.parametrize("text", ["12:30", "007", "1:30.5"])
def test_what_yaml_alone_takes_for_a_number_is_text(path: Path, text: str) -> None:
    path.write_text(TEXT.replace("path: pictures", f"path: {text}", 1))
    assert load_recipe(path).data["mine"].path == text


def test_keys_that_come_twice_are_refused(path: Path) -> None:
    path.write_text(TEXT.replace("steps: 5,", "steps: 5, steps: 6,", 1))
    with pytest.raises(InvalidInputError, match="the key 'steps' comes twice.*line 11"):
        load_recipe(path)
    merged = "x: &x {steps: 5, learning_rate: 1.0e-3}\n"
    path.write_text(TEXT.replace("train: {steps: 5, learning_rate: 1.0e-3}", "train: {<<: *x, steps: 6}").replace(
        "samples: {", merged + "samples: {") )  # fmt: skip
    with pytest.raises(InvalidInputError, match="undefined alias"):
        load_recipe(path)
    path.write_text(
        TEXT.replace("train: {steps: 5, learning_rate: 1.0e-3}", "train: &t {steps: 5, learning_rate: 1.0e-3}", 1)
        .replace("train: {steps: 5, learning_rate: 1.0e-3}", "train: {<<: *t, steps: 6}", 1)
    )  # fmt: skip
    assert [stage.train.steps for stage in load_recipe(path).stages] == [5, 6, 5]


def test_configurations_keep_to_their_ranges_however_they_are_made() -> None:
    with pytest.raises(
        InvalidInputError, match=r"steps must be at least 1.*weight_decay.*betas.0 must be below 1, got 2"
    ):
        TrainConfig(steps=0, learning_rate=1e-3, betas=(2, 3), weight_decay=-1)
    with pytest.raises(InvalidInputError, match="warmup_steps must be at most the 5 steps, got 6"):
        TrainConfig(steps=5, learning_rate=1e-3, warmup_steps=6)
    with pytest.raises(InvalidInputError, match="text_dropout must be at most 1, got 2"):
        DiffusionConfig(text_dropout=2)
    with pytest.raises(InvalidInputError, match="kl_weight must be"):
        AutoencoderConfig(kl_weight=math.nan)
    assert TrainConfig(steps=5, learning_rate=1e-3).warmup == 5
    assert TrainConfig(steps=500, learning_rate=1e-3).warmup == 100


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS pointer"),
     (b"<!DOCTYPE html><html></html>", "web page"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"- 1\n", "mapping"),
     (b"a: &a [*a]", "nested too deeply"), (b"[" * 1000, "nested too deeply|not YAML"), (b"", "mapping"),
     (b"a: b\n? [c]\n: d\n", "not YAML|unknown key|faults"), ("a: b".encode("utf-16"), "UTF-16"),
     (b"1: 2\n", "1|faults"), (b"#" * 2**20 + b"##", "too large")],
)  # fmt: skip
def test_what_is_no_recipe_is_one_line(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=said) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["/dev/zero", "folder/", "x" * 300 + ".yaml", "a\0b.yaml", "gone/x.yaml", "~/x.yaml"]
)
def test_what_is_no_file_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInputError):
        load_recipe(name)
