"""A recipe from nothing to a model folder that makes clips; stopped and gone on with; on pictures of one's own."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from stylecrafter import StyleCrafterPipeline
from stylecrafter.data.batch import BatchSource
from stylecrafter.data.loaders import FileSource
from stylecrafter.data.mixing import MixedSource
from stylecrafter.data.records import Problem
from stylecrafter.errors import CheckpointError, InvalidInputError, OutputError, UnknownNameError
from stylecrafter.training.recipe_files import load_recipe, recorded_recipe
from stylecrafter.training.recipe_run import RecipeRun
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.strategies import STRATEGIES
from tests.training.short_run import SHORT, STAGES


def test_stages_leave_the_work_of_earlier_ones_alone(trained: RecipeRun) -> None:
    before, after = trained.models.parts(["autoencoder", "clip", "base"]), trained.models.parts(list(STAGES))
    temporal = {id(value) for value in after.backbone.denoiser.temporal_parameters()}
    denoisers = before.backbone.denoiser.named_parameters(), after.backbone.denoiser.parameters()
    for (name, old), new in zip(*denoisers, strict=True):
        assert torch.equal(old, new) == (id(new) not in temporal), name
    for name in ("vae", "text_encoder", "image_encoder"):
        for (of, old), new in zip(
            before.models()[name].named_parameters(), after.models()[name].parameters(), strict=True
        ):
            assert torch.equal(old, new) != (name == "vae" and of.startswith("decoder.")), of


def test_the_text_encoder_that_base_trained_is_the_one_in_use(trained: RecipeRun) -> None:
    weights = load_file(trained.folder / "base" / "weights.safetensors")
    early, late = (
        trained.models.parts(["autoencoder", "clip"]).models()["text_encoder"],
        trained.models.parts(list(STAGES)).models()["text_encoder"],
    )
    for (name, old), new in zip(early.named_parameters(), late.parameters(), strict=True):
        assert torch.equal(new, weights[f"text_encoder.{name}"]), name
        if "token_embedding" not in name:
            assert not torch.equal(new, old), name


def test_samples_and_losses_are_kept(trained: RecipeRun) -> None:
    sheet = Image.open(trained.folder / "adapter" / "samples" / "samples-00000002.png")
    # A reference and one frame for each of two prompts.
    assert sheet.size == (128, 128)
    # The base knows no style yet: its sheet shows text alone.
    assert Image.open(trained.folder / "base" / "samples" / "samples-00000002.png").size == (64, 128)
    assert (trained.folder / "temporal" / "losses.csv").read_text().startswith("step,loss")
    assert Recipe.model_validate(_yaml(trained.folder / "recipe.yaml")).name == "smoke"


def test_a_finished_or_foreign_folder_is_not_overwritten(trained: RecipeRun) -> None:
    with pytest.raises(OutputError, match="--resume"):
        RecipeRun(trained.recipe, trained.folder).run()
    with pytest.raises(OutputError, match="finished"):
        RecipeRun(trained.recipe, trained.folder).run(resume=True)


def test_a_stopped_run_goes_on_as_if_it_had_not_been(trained: RecipeRun, tmp_path: Path) -> None:
    def stop(stage: str, step: int, steps: int, loss: float) -> None:
        seen.append((stage, step))
        if seen[-1] == ("base", 1):
            os.kill(os.getpid(), signal.SIGTERM)

    seen: list[tuple[str, int]] = []
    recipe = load_recipe("smoke", SHORT)
    first = RecipeRun(recipe, tmp_path / "run")
    assert first.run(on_step=stop) is False and first.stopped_by is signal.SIGTERM
    assert not (tmp_path / "run" / "model").exists()
    # From what it was begun with, wherever that recipe lay.
    again = load_recipe(recorded_recipe(tmp_path / "run"))
    assert RecipeRun(again, tmp_path / "run").run(resume=True, on_step=stop) is True
    assert seen == [(stage, step) for stage in STAGES for step in (1, 2)]
    for stage in STAGES:
        one, two = (load_file(f / stage / "weights.safetensors") for f in (trained.folder, tmp_path / "run"))
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert torch.equal(value, two[name]), f"{stage} {name}"


def test_a_stop_in_the_last_step_of_a_stage_ends_the_run_before_the_next(tmp_path: Path) -> None:
    def stop(stage: str, step: int, steps: int, loss: float) -> None:
        seen.append(stage)
        if step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    seen: list[str] = []
    run = RecipeRun(load_recipe("smoke", SHORT), tmp_path / "run")
    assert run.run(until="clip", on_step=stop) is False and run.stopped_by is signal.SIGTERM
    assert set(seen) == {"autoencoder"} and run.is_finished("autoencoder")
    # Behind the last stage nothing is left to stop.
    assert run.run(resume=True, until="clip", on_step=stop) is True and run.is_finished("clip")


def test_stopping_after_a_stage_leaves_the_model_as_it_is_then(trained: RecipeRun, tmp_path: Path) -> None:
    run = RecipeRun(trained.recipe, tmp_path / "run")
    for stage in ("autoencoder", "clip", "base"):
        (run.folder / stage).mkdir(parents=True)
        (run.folder / stage / "weights.safetensors").symlink_to(
            trained.folder / stage / "weights.safetensors"
        )
    with pytest.raises(UnknownNameError, match="unknown stage to stop after 'bass'.*base"):
        run.run(until="bass")
    assert run.run(until="clip") and run.exported_to("clip") == run.folder / "clip" / "weights.safetensors"
    assert not list(run.folder.glob("model*"))
    assert run.run(resume=True, until="base") and not run.is_finished("adapter")
    assert run.exported_to("base") == run.folder / "model_base" and not (run.folder / "model").exists()
    base = StyleCrafterPipeline.from_pretrained(run.folder / "model_base").unet.state_dict()
    wanted = trained.models.parts(["autoencoder", "clip", "base"]).backbone.denoiser.state_dict()
    assert all(torch.allclose(value, wanted[name].half().float()) for name, value in base.items())
    assert run.run(resume=True, until="adapter") and run.is_finished("adapter")


def test_an_adapter_learns_from_pictures_of_one_s_own(trained: RecipeRun, tmp_path: Path) -> None:
    pictures = tmp_path / "mine"
    pictures.mkdir()
    for i in range(3):
        Image.new("RGB", (90, 70), (80 * i, 40, 200 - 60 * i)).save(pictures / f"{i}.png")
        (pictures / f"{i}.txt").write_text("a watercolor painting of a dog in the park")
    (pictures / "broken.png").write_bytes(b"no picture")
    (pictures / "broken.txt").write_text("a cat")
    changes = [
        f"model.pretrained={trained.folder / 'model'}", f"data.mine.path={pictures}", "data.mine.batch_size=3",
        "stages.extractor.train.steps=2", "stages.extractor.train.sample_every=0",
    ]  # fmt: skip
    run = RecipeRun(load_recipe("finetune", changes), tmp_path / "run")
    assert run.run()
    assert run.sources["mine"].batch(0, slice(0, 3)).captions == ["a dog in the park"] * 3
    assert any("broken.png" in line for line in run.sources["mine"].report())
    before = StyleCrafterPipeline.from_pretrained(trained.folder / "model").style_adapter
    after = StyleCrafterPipeline.from_pretrained(tmp_path / "run" / "model")
    assert after.config.default_height == 64 and not (tmp_path / "run" / "model" / "world.json").exists()
    changed = [
        n for n, v in after.style_adapter.named_parameters() if not torch.equal(v, before.get_parameter(n))
    ]
    assert changed and all(name.startswith("extractor.") for name in changed)


def test_what_cannot_be_used_is_told_once_and_by_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("whole", "broken", "torn"):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("a cat")
    mine = FileSource(tmp_path, size=16, batch_size=1)
    broken, torn = (Problem(f"{name}.png", "cannot be read") for name in ("broken", "torn"))

    def told(run: RecipeRun, processes: int = 1) -> list[str]:
        caplog.clear()
        run._report_problems(processes)
        return caplog.messages

    run = RecipeRun(load_recipe("smoke"), tmp_path / "run")
    run.sources = {"mine": mine, "mix": MixedSource([mine], [1])}
    mine.absorb(Counter([broken]))
    assert told(run) == ["source mine: 1 not usable:", "source mine: broken.png: cannot be read"]
    mine.absorb(Counter([broken, torn]))
    assert told(run) == ["source mine: 1 not usable:", "source mine: torn.png: cannot be read"]
    assert told(run) == []

    # Another process has met another file.
    monkeypatch.setattr("stylecrafter.training.recipe_run.gather_object", lambda met: [*met, Counter([torn])])
    for rank, wanted in (("1", []), ("0", ["broken.png", "torn.png"])):
        monkeypatch.setenv("RANK", rank)
        run = RecipeRun(load_recipe("smoke"), tmp_path / "run")
        source = FileSource(tmp_path, size=16, batch_size=1)
        source.absorb(Counter([broken]))
        run.sources = {"mine": source}
        assert [line.split(": ")[1] for line in told(run, 2)[1:]] == wanted


def test_sheets_of_models_in_parts_are_drawn_with_whole_ones(trained: RecipeRun) -> None:
    spec = trained.recipe.stages[3]
    draw = trained._sampler(spec, trained.models.parts(list(STAGES[:4])))
    assert draw is not None
    whole = draw(1, None)
    spread = spec.replace(train=spec.train.replace(sharding="full"))
    draw = trained._sampler(spread, trained.models.parts(list(STAGES[:3])))
    assert draw is not None
    spread_out = draw(1, load_file(trained.folder / "adapter" / "weights.safetensors"))
    assert whole is not None and spread_out is not None and whole.tobytes() == spread_out.tobytes()


def test_the_seed_of_a_recipe_is_that_of_its_stages() -> None:
    recipe = load_recipe("smoke", [*SHORT, "seed=5", "stages.base.options.seed=7"])
    seeded = {stage.stage: stage.seeded(recipe.seed) for stage in recipe.stages}
    assert {stage.train.seed for stage in seeded.values()} == {5}
    assert seeded["base"].options.seed == 7
    assert seeded["adapter"].options.seed == seeded["autoencoder"].options.seed == 5


def test_runs_of_two_seeds_differ_in_their_noise(trained: RecipeRun, tmp_path: Path) -> None:
    losses, sources = [], dict[str, BatchSource]()
    for seed in (0, 1):
        recipe = trained.recipe.model_copy(update={"seed": seed})
        run = RecipeRun(recipe, tmp_path / str(seed))
        run.sources = sources  # the same pictures
        for stage in ("autoencoder", "clip", "base"):
            (run.folder / stage).mkdir(parents=True)
            (run.folder / stage / "weights.safetensors").symlink_to(
                trained.folder / stage / "weights.safetensors"
            )
        assert run.train_stage(recipe.stages[3])
        losses.append((run.folder / "adapter" / "losses.csv").read_text().splitlines()[1].split(",")[1])
    assert losses[0] != losses[1]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_trained(name: str, trained: RecipeRun, tmp_path: Path) -> None:
    recipe = load_recipe("smoke", [*SHORT, "stages.adapter.train.sample_every=0"])
    recipe = recipe.model_copy(update={"stages": recipe.stages[:-1]})  # no strategy has another decoder
    run = RecipeRun(recipe.with_strategy(STRATEGIES[name]), tmp_path / "run")
    for stage in ("autoencoder", "clip", "base"):
        (run.folder / stage).mkdir(parents=True)
        (run.folder / stage / "weights.safetensors").symlink_to(
            trained.folder / stage / "weights.safetensors"
        )
    assert run.run()
    adapter = StyleCrafterPipeline.from_pretrained(run.folder / "model").style_adapter
    for field, value in STRATEGIES[name].adapter.items():
        assert adapter.config[field] == value


def test_stages_need_the_ones_before_them_and_their_sources(tmp_path: Path) -> None:
    recipe = load_recipe("smoke", SHORT)
    run = RecipeRun(recipe, tmp_path)
    with pytest.raises(CheckpointError, match="autoencoder"):
        run.train_stage(recipe.stages[2])
    with pytest.raises(InvalidInputError, match="pictures"):
        run.build_stage(recipe.stages[0].model_copy(update={"pictures": None}))
    tuned = load_recipe("finetune", ["data.mine.path=nowhere"])
    with pytest.raises(InvalidInputError, match="nowhere"):
        RecipeRun(tuned, tmp_path / "tuned").run()
    scratch = recipe.stages[0]
    with pytest.raises(InvalidInputError, match="preset"):
        RecipeRun(tuned, tmp_path / "tuned").build_stage(scratch)


def _yaml(path: Path) -> dict:
    import yaml

    return yaml.safe_load(path.read_text())


def test_a_base_in_two_stages_after_the_words(
    trained: RecipeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Text first, then few frames, then, with time stretched, what those left; each in its own folder."""
    train = {"steps": 1, "learning_rate": 1e-3, "ema_decay": 0.0, "log_every": 1}
    world = {"kind": "styleworld", "captions": "keep", "batch_size": 2}
    recipe = Recipe.model_validate(
        {
            "name": "moves",
            "model": {"pretrained": str(trained.folder / "model")},
            "data": {"ends": {**world, "span": [1, 1]}, "clips": {**world, "batch_size": 1, "num_frames": 2}},
            "stages": [
                {"stage": "words", "pictures": "ends", "train": train},
                {"stage": "base", "name": "few", "pictures": "ends", "train": train, "options": {"clip_ratio": 0.0}},
                {"stage": "base", "clips": "clips", "position_interpolation": 3,
                 "train": {**train, "learning_rate": 1e-30}, "options": {"clip_ratio": 1.0}},
            ],
        }
    )  # fmt: skip
    run = RecipeRun(recipe, tmp_path / "run")
    with caplog.at_level("INFO", logger="stylecrafter"):
        assert run.run()
    assert [line for line in caplog.messages if line.startswith("few: step 1 of 1")]
    assert {path.name for path in run.folder.iterdir() if path.is_dir()} == {"words", "few", "base", "model"}
    names = ["words", "few", "base"]
    none, words, few, base = (run.models.parts(names[:n]).models() for n in range(4))
    text, unet = "text_encoder", "unet"
    assert not _same(none[text], words[text]) and _same(none[unet], words[unet])
    assert _same(words[text], few[text]) and not _same(words[unet], few[unet])
    few[unet].stretch_time(3)
    for (name, one), other in zip(few[unet].named_parameters(), base[unet].parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    with pytest.raises(UnknownNameError, match="few"):
        run.run(until="fewer", resume=True)


def test_every_stage_of_the_large_embedded_model_runs(tmp_path: Path) -> None:
    """One step of each at the recipe's own sizes, in small batches, and a clip of what comes out."""
    recipe = load_recipe("mini_128")
    changes = [f"stages.{stage.name}.train.steps=1" for stage in recipe.stages]
    for name, source in recipe.data.items():
        rows = 1 if getattr(source, "num_frames", 1) > 1 else 4
        changes.append(f"data.{name}.batch_size={rows}")
    seen: list[str] = []
    run = RecipeRun(
        load_recipe("mini_128", [*changes, "samples.num_frames=1", "samples.steps=1"]), tmp_path / "run"
    )
    assert run.run(on_step=lambda stage, *_: seen.append(stage))
    assert seen == [stage.name for stage in recipe.stages]
    pipe = StyleCrafterPipeline.from_pretrained(run.folder / "model")
    pipe.set_progress_bar_config(disable=True)
    style = Image.new("RGB", (80, 60), (200, 40, 90))
    out = pipe("a dog in a meadow", style_images=[style], num_frames=2, num_inference_steps=1, seed=1)
    assert [frame.size for frame in out.frames[0]] == [(128, 128)] * 2


def _same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
