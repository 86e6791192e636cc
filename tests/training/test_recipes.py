"""Recipes: what comes along is valid, what is wrong is refused with the place and the nearest right word."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.backbones.videocrafter_unet import VideoCrafterUNet
from stylecrafter.errors import InvalidInputError, UnknownNameError
from stylecrafter.presets import load_preset
from stylecrafter.training.from_scratch import fresh_models
from stylecrafter.training.recipe_checks import members_of
from stylecrafter.training.recipe_files import load_recipe, recipe_names
from stylecrafter.training.recipes import Recipe
from stylecrafter.training.sources import words_for
from stylecrafter.training.strategies import STRATEGIES, find_strategy

TEXT = """
name: test
model: {preset: mini}
data:
  styled: {kind: styleworld, batch_size: 4, references: crop}
  clips: {kind: styleworld, batch_size: 2, num_frames: 4, styled_ratio: 0.0}
stages:
  - {stage: adapter, pictures: styled, train: {steps: 5, learning_rate: 1.0e-3}}
  - stage: temporal
    pictures: styled
    clips: clips
    options: {clip_ratio: 0.8}
    train: {steps: 5, learning_rate: 1.0e-3}
"""


#: What an adapter is built of where a recipe says nothing.
ADAPTER_DEFAULTS = {
    name: p.default for name, p in inspect.signature(StyleAdapter.__init__).parameters.items()
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "test.yaml"
    file.write_text(TEXT)
    return file


def refusal(path: Path, old: str, new: str) -> str:
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InvalidInputError) as caught:
        load_recipe(path)
    return str(caught.value)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_along_is_valid(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.description and recipe.stages


def test_the_recipes_that_people_expect_come_along() -> None:
    expected = {"mini", "mini_cpu", "mini_128", "smoke", "paper", "finetune", "sdxl", "animatediff", "wan"}
    assert expected <= set(recipe_names())


@pytest.mark.parametrize("name", ["mini", "mini_cpu", "mini_128"])
def test_the_embedded_models_stay_small(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        sizes = load_preset(recipe.model.preset)
        unet = VideoCrafterUNet(**sizes["unet"])
        adapter = StyleAdapter.for_model(unet, sizes["vision"]["hidden_size"], **sizes["adapter"])
        clip = fresh_models.build_clip(sizes, fresh_models.build_tokenizer(sizes, words_for(recipe)))
        models = [unet, adapter, clip, AutoencoderKL(**sizes["vae"])]
    megabytes = 2 * sum(value.numel() for model in models for value in model.parameters()) / 1e6
    assert megabytes <= 60


def test_the_paper_s_numbers() -> None:
    recipe = load_recipe("paper")
    adapter, temporal = recipe.stages
    assert (adapter.stage, temporal.stage) == ("adapter", "temporal")
    assert adapter.train.steps == 40_000 and temporal.train.steps == 20_000
    assert recipe.data[adapter.pictures].batch_size == 256
    assert recipe.data[temporal.pictures].batch_size == 128 and recipe.data[temporal.clips].batch_size == 8
    assert temporal.options.clip_ratio == 0.8
    assert temporal.options.text_dropout == 0.0 == adapter.options.text_dropout
    video = recipe.data["video"]
    assert (video.num_frames, video.height, video.width) == (16, 320, 512)


def test_the_numbers_of_the_published_sdxl_recipe() -> None:
    recipe = load_recipe("sdxl")
    rounds = [
        (
            recipe.data[s.pictures].size,
            s.train.steps,
            recipe.data[s.pictures].batch_size,
            s.train.learning_rate,
        )
        for s in recipe.stages
    ]
    assert rounds == [(512, 80_000, 128, 5e-5), (1024, 80_000, 64, 2e-5), (1024, 40_000, 64, 1e-5)]
    assert [s.options.noise_offset for s in recipe.stages] == [0, 0, 0.05]
    assert {s.train.weight_decay for s in recipe.stages} == {0}
    sizes = {**ADAPTER_DEFAULTS, **recipe.adapter}
    assert (sizes["num_style_tokens"], sizes["extractor_layers"], sizes["extractor_heads"]) == (16, 4, 20)
    assert (sizes["scale_dim"], sizes["scale_layers"], sizes["scale_heads"]) == (512, 2, 8)
    assert sizes["image_features"] == "penultimate"


def test_a_strategy_keeps_all_rounds_of_a_stage() -> None:
    recipe = load_recipe("sdxl").with_strategy(find_strategy("adapter_only"))
    assert [s.name for s in recipe.stages] == ["adapter", "adapter_1024", "adapter_offset"]


def test_wan_is_shown_what_it_takes() -> None:
    recipe = load_recipe("wan")
    video = recipe.data["video"]
    assert (video.num_frames % 4, video.num_frames, video.height, video.width) == (1, 77, 480, 832)
    assert {s.train.learning_rate for s in recipe.stages} == {1e-4}


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("{base: a, pretrained: mini}", "not pretrained and base: --set model.pretrained= leaves one out"),
        ("{preset: mini, adapter: a}", "'adapter' goes with 'base' or 'pretrained'"),
        ("{preset: mini, text_encoder_dtype: bfloat16}", "'text_encoder_dtype' goes with 'base'"),
        ("{pretrained: mini, motion_adapter: a}", "'motion_adapter' goes with 'base'"),
        ("{base: a, adapter: b, new_adapter: true}", "not both"),
        ("{base: a, text_encoder_dtype: float16}", "text_encoder_dtype"),
    ],
)
def test_models_that_do_not_go_together_are_refused(path: Path, model: str, says: str) -> None:
    assert says in refusal(path, "{preset: mini}", model)


def test_values_can_be_set_by_stage_name_or_position(path: Path) -> None:
    changed = load_recipe(path, ["stages.adapter.train.steps=9", "stages.1.options.clip_ratio=0.5", "seed=3"])
    assert changed.stages[0].train.steps == 9
    assert changed.stages[1].options.clip_ratio == 0.5 and changed.seed == 3
    with pytest.raises(InvalidInputError, match="key=value"):
        load_recipe(path, ["seed"])
    with pytest.raises(UnknownNameError, match="adapter"):
        load_recipe(path, ["stages.adaptor.train.steps=9"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pictures: styled", "picture: styled", "'pictures'"),
        ("batch_size: 4", "batch_sise: 4", "batch_size"),
        ("steps: 5", "step: 5", "'steps'"),
        ("clip_ratio", "clips_ratio", "'clip_ratio'"),
        ("pictures: styled", "pictures: stiled", "'styled'"),
        ("preset: mini", "preset: mimi", "'mini'"),
        ("{preset: mini}", "{}", "pretrained"),
        ("stage: adapter", "stage: adaptor", "'adapter'"),
        ("steps: 5", "steps: 0", "steps must be at least 1"),
        ("clip_ratio: 0.8", "clip_ratio: 1.8", "clip_ratio must be at most 1, got 1.8"),
        ("batch_size: 4", "batch_size: 0", "data.styled.batch_size must be at least 1, got 0"),
        ("stage: temporal", "stage: adapter", "every stage needs its own name"),
        ("stage: temporal", "stage: temporal\n    name: again", "only the stages 'base' and 'adapter'"),
        ("stage: adapter", "stage: adapter, position_interpolation: 5", "position_interpolation is for base"),
        ("stage: temporal", "stage: temporal\n    position_interpolation: 0.5", "position_interpolation"),
        (
            "{stage: adapter,",
            "{stage: adapter, options: {lora_rank: 4},",
            "options.lora_rank is for stages that train temporal layers, not for 'adapter'",
        ),
        ("name: test", "name: a/b", "name"),
        ("learning_rate: 1.0e-3", "learning_rate: fast", "learning_rate"),
        ("references: crop", "references: none", "data.styled.references to crop"),
        (
            "data:",
            "adapter: {extractor_typ: mlp}\ndata:",
            "adapter: unknown option of StyleAdapter 'extractor_typ'. Did you mean 'extractor_type'?",
        ),
        ("data:", "adapter: {extractor_type: mpl}\ndata:", "Did you mean 'mlp'?"),
        (
            "data:",
            "adapter: {num_style_tokens: 0}\ndata:",
            "num_style_tokens must be a whole number of at least 1",
        ),
        ("data:", "adapter: {extractor_heads: 7}\ndata:", "is not a multiple of the number of heads 7"),
        ("data:", "folder: elsewhere\ndata:", "unknown key 'folder'"),
        ("data:", "seed: -1\ndata:", "seed must be at least 0, got -1"),
        ("data:", "seed: 9223372036854775808\ndata:", "seed must be at most 9,223,372,036,854,775,807"),
    ],
)
def test_what_is_wrong_is_named(path: Path, old: str, new: str, message: str) -> None:
    assert message in refusal(path, old, new)


def test_what_no_recipe_may_say_is_not_proposed(path: Path) -> None:
    said = refusal(path, "data:", "foldr: elsewhere\ndata:")
    assert "unknown key 'foldr'. Known: adapter, data" in said and "folder" not in said


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_change_what_they_say_and_nothing_else(path: Path, name: str) -> None:
    recipe, strategy = load_recipe(path), find_strategy(name)
    changed = recipe.with_strategy(strategy)
    assert [stage.stage for stage in changed.stages] == list(strategy.stages)
    assert dict(changed.adapter) == dict(strategy.adapter)
    styled, clips = changed.data["styled"], changed.data["clips"]
    assert (styled.captions, styled.references) == (strategy.captions, strategy.references)
    crossed = strategy.cross_reference_ratio
    assert styled.cross_reference_ratio == (
        recipe.data["styled"].cross_reference_ratio if crossed is None else crossed
    )
    assert clips == recipe.data["clips"]
    for stage in changed.stages:
        like = next(
            s for s in recipe.stages if s.stage == ("temporal" if stage.stage == "joint" else stage.stage)
        )
        assert stage.train == like.train and stage.options == like.options
    assert Recipe.model_validate(changed.model_dump())


def test_the_joint_stage_keeps_the_factors_alive_too(path: Path) -> None:
    changed = load_recipe(path, ["stages.adapter.options.scale_penalty=0.25"]).with_strategy(
        find_strategy("joint")
    )
    (joint,) = changed.stages
    assert joint.options.scale_penalty == 0.25
    assert joint.options.clip_ratio == load_recipe(path).stages[-1].options.clip_ratio


def test_a_strategy_needs_its_stages(path: Path) -> None:
    path.write_text(TEXT[: TEXT.index("  - stage: temporal")])
    with pytest.raises(InvalidInputError, match="'temporal'"):
        load_recipe(path).with_strategy(find_strategy("two_stage"))
    with pytest.raises(UnknownNameError, match="two_stage"):
        find_strategy("two_stages")


MIXED = TEXT.replace(
    "stages:\n",
    """  more: {kind: styleworld, batch_size: 4, references: crop, vocabulary: medium}
  mixed: {kind: mix, of: {styled: 1, inner: 1}, batch_size: 4}
  inner: {kind: mix, of: {more: 2}, batch_size: 4}
stages:
""",
).replace("{stage: adapter, pictures: styled", "{stage: adapter, pictures: mixed")


def test_strategies_reach_the_members_of_mixes(path: Path) -> None:
    path.write_text(MIXED)
    changed = load_recipe(path).with_strategy(find_strategy("no_augmentation"))
    for name in ("styled", "more"):
        assert (changed.data[name].captions, changed.data[name].references) == ("keep", "whole")
    assert members_of(load_recipe(path).data, "mixed") == {"styled", "more"}


def test_mixes_are_checked_like_what_they_are_made_of(path: Path) -> None:
    path.write_text(MIXED.replace("of: {more: 2}", "of: {mixed: 2}"))
    with pytest.raises(InvalidInputError, match="inner > mixed > inner"):
        load_recipe(path)
    path.write_text(MIXED.replace("references: crop, vocabulary: medium", "vocabulary: medium"))
    with pytest.raises(InvalidInputError, match="data.more.references to crop"):
        load_recipe(path)


def test_options_of_every_stage_are_checked_when_the_recipe_is_read() -> None:
    for change, message in (
        ("stages.autoencoder.options.kl_weight=-1", "kl_weight must be at least 0"),
        ("stages.clip.options.style_weight=.nan", "style_weight must be at least 0"),
        ("stages.clip.options.style_wait=1", "'style_weight'"),
        ("stages.autoencoder.options.kl_weight=much", "kl_weight"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            load_recipe("mini", [change])


def test_a_base_may_come_in_several_stages_with_names_of_their_own(path: Path) -> None:
    two = "- {stage: base, name: first, pictures: styled, train: {steps: 5, learning_rate: 1.0e-3}}\n  - stage: base"
    path.write_text(
        TEXT.replace(
            "- {stage: adapter,",
            f"{two}\n    pictures: styled\n    train: {{steps: 4, learning_rate: 1.0e-3}}\n  - {{stage: adapter,",
        )
    )
    recipe = load_recipe(path, ["stages.first.train.steps=7"])
    assert [(s.stage, s.name) for s in recipe.stages[:3]] == [
        ("base", "first"),
        ("base", "base"),
        ("adapter", "adapter"),
    ]
    assert [s.train.steps for s in recipe.stages[:2]] == [7, 4]
    joint = recipe.with_strategy(find_strategy("joint"))
    assert [s.name for s in joint.stages] == ["first", "base", "joint"]


@pytest.mark.parametrize("change", ["model.new_adapter=true", "adapter.scale_type=fixed"])
def test_a_fresh_adapter_is_not_left_to_its_extractor(change: str) -> None:
    with pytest.raises(InvalidInputError, match="goes on with an adapter that has learned"):
        load_recipe("finetune", [change])
    assert load_recipe("finetune", [change, "stages.extractor.stage=adapter"]).stages[0].name == "adapter"
    with pytest.raises(InvalidInputError, match="set data.mine.references to crop"):
        load_recipe("finetune", ["data.mine.references=none"])


def test_a_strategy_of_the_paper_needs_the_stages_of_the_paper() -> None:
    with pytest.raises(InvalidInputError, match="needs the stage 'adapter'; recipe 'finetune' has extractor"):
        load_recipe("finetune").with_strategy(find_strategy("adapter_only"))
