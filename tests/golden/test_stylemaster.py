"""StyleMaster on Wan 2.1 against its published code: the transformer, the sampler and the style model."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from torch import Tensor

from stylecrafter import StyleCrafterPipeline
from stylecrafter.adapter.patch_selection import kept_weights
from stylecrafter.errors import CheckpointError, InvalidInputError
from stylecrafter.weights import load_adapter
from stylecrafter.weights.formats.stylemaster import adapter_config, matches
from tests.golden import regenerate
from tests.golden.support import DATA, Comparison, draw, expected

KEYS: dict[str, Any] = json.loads(gzip.decompress((DATA / "keys_stylemaster.json.gz").read_bytes()))
#: Sizes of the published transformer of the tiny keys.
WAN = {
    "num_attention_heads": 4,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 32,
    "freq_dim": 16,
    "ffn_dim": 96,
    "num_layers": 3,
    "rope_max_seq_len": 32,
}
#: A style model for it; the published one has no tiny size.
STYLE = {
    "style_emb": (1, 2, 16),
    "proj_patch": (16, 64),
    "ln1.weight": (16,),
    "ln1.bias": (16,),
    "ln2.weight": (16,),
    "ln2.bias": (16,),
    "proj.weight": (3 * 64, 12),
    "proj.bias": (3 * 64,),
    "norm.weight": (64,),
    "norm.bias": (64,),
    **{
        f"transformer_blocks.resblocks.0.{name}": shape
        for name, shape in {
            "ln_1.weight": (16,),
            "ln_1.bias": (16,),
            "attn.in_proj_weight": (48, 16),
            "attn.in_proj_bias": (48,),
            "attn.out_proj.weight": (16, 16),
            "attn.out_proj.bias": (16,),
            "ln_2.weight": (16,),
            "ln_2.bias": (16,),
            "mlp.c_fc.weight": (64, 16),
            "mlp.c_fc.bias": (64,),
            "mlp.c_proj.weight": (16, 64),
            "mlp.c_proj.bias": (16,),
        }.items()
    },
}


def values(shapes: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in regenerate.weights(shapes, prefix).items()}


@pytest.fixture(scope="module")
def file() -> dict[str, Tensor]:
    """What the published file holds, at tiny size."""
    style = {f"style_model.{name}": value for name, value in values(STYLE, "style_model.").items()}
    return {**values(KEYS["tiny"]["dit"], "stylemaster."), **style}


@pytest.fixture
def base() -> WanTransformer3DModel:
    """Another Wan than that of the file."""
    torch.manual_seed(0)
    return WanTransformer3DModel(**WAN).eval()


def pipeline(base: WanTransformer3DModel, adapter: Any) -> StyleCrafterPipeline:
    parts = {"vae": None, "text_encoder": None, "tokenizer": None, "unet": None, "transformer": base}
    pipe = StyleCrafterPipeline(**parts, scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0))
    pipe.set_progress_bar_config(disable=True)
    pipe.load_adapter(adapter)
    return pipe


def alone(pipe: StyleCrafterPipeline, style: Tensor | None) -> Tensor:
    """Each sample on its own, as the golden was made: the published head errs on batches."""
    latents, text = draw("sm.latents", 2, 4, 3, 8, 12), draw("sm.context", 2, 7, 32)
    rows = [
        pipe.predict_noise(
            latents[i : i + 1], t, text[i : i + 1], None if style is None else style[i : i + 1]
        )
        for i, t in enumerate((981, 21))
    ]
    return torch.cat(rows)


def test_the_transformer_with_style_with_zero_style_and_without(
    base: WanTransformer3DModel, file: dict[str, Tensor]
) -> None:
    pipe = pipeline(base, file)
    wanted, comparison = expected("tiny/stylemaster_dit"), Comparison(1e-5)
    style = draw("sm.style_feat", 2, 5, 64)
    comparison.add("out", alone(pipe, style), wanted["out"])
    comparison.add("out_zero_style", alone(pipe, torch.zeros_like(style)), wanted["out_zero_style"])
    comparison.add("out_no_style", alone(pipe, None), wanted["out_no_style"])
    comparison.check()
    # A batch is what a loop gives, which it is not in the published code.
    latents, text = draw("sm.latents", 2, 4, 3, 8, 12), draw("sm.context", 2, 7, 32)
    both = pipe.predict_noise(latents, torch.tensor([981, 21]), text, style)
    torch.testing.assert_close(both, alone(pipe, style), rtol=1e-4, atol=1e-5)


def test_the_sampler(base: WanTransformer3DModel, file: dict[str, Tensor]) -> None:
    pipe = pipeline(base, file)
    assert (pipe.config.default_text_guidance, pipe.config.default_style_guidance) == (8.0, 4.0)
    wanted, seen = expected("tiny/stylemaster_sampler"), {}

    def keep(pipe: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen[f"latents.{step}"] = tensors["latents"].clone()
        return {}

    pipe(
        latents=draw("sm.noise", 1, 4, 3, 8, 12),
        text_embeds=draw("sm.context", 2, 7, 32)[:1],
        negative_text_embeds=draw("sm.negative", 1, 7, 32),
        style_tokens=draw("sm.style_feat", 2, 5, 64)[:1],
        sigmas=[1.0, 0.75, 0.5, 0.25],
        output_type="latent",
        callback_on_step_end=keep,
    )
    comparison = Comparison(1e-4)
    for name in sorted(key for key in wanted if key.startswith("latents.")):
        comparison.add(name, seen[name], wanted[name])
    comparison.add("timesteps", pipe.scheduler.timesteps, wanted["timesteps"].float())
    comparison.add("sigmas", pipe.scheduler.sigmas[:-1], wanted["sigmas"].float())
    comparison.check()


@pytest.mark.slow
def test_the_style_model_in_full() -> None:
    shapes = {k: v for k, v in KEYS["full"].items() if k.startswith("style_model.")}
    state = values(shapes, "")
    # Of the rest of the file, as little as makes an adapter.
    for name, shape in (("k_img.weight", (8, 4096)), ("k_img.bias", (8,)), ("norm_k_img.weight", (8,))):
        state[f"blocks.0.cross_attn.{name}"] = torch.zeros(shape)
    state |= {
        f"blocks.0.cross_attn.v_img.{n}": torch.zeros(s) for n, s in (("weight", (8, 4096)), ("bias", 8))
    }
    adapter = load_adapter({**state, "text_embedding.0.weight": torch.zeros(8, 4096)})
    tokens, text = draw("sm.last_hidden_state", 2, 257, 1280), draw("sm.prompt", 2, 64, 4096)
    wanted, comparison = expected("full/stylemaster_style_model"), Comparison(1e-5)
    style = adapter.encode(tokens, draw("sm.image_embeds", 2, 1024), text)
    comparison.add("style_feat", style, wanted["style_feat"])
    kept = [row.nonzero().flatten() for row in kept_weights(tokens, text)]
    comparison.add("kept_indices", torch.stack(kept), wanted["kept_indices"])
    comparison.check()


def test_every_name_of_the_published_file_has_a_place() -> None:
    shapes = {name: tuple(shape) for name, shape in KEYS["full"].items()}
    assert matches(shapes)
    config = adapter_config(shapes)
    assert (config["image_dim"], config["style_dim"], config["embed_dim"]) == (1280, 4096, 1024)
    assert (config["num_style_tokens"], config["num_local_tokens"], len(config["layer_names"])) == (16, 2, 30)
    assert not matches({**shapes, "img_emb.proj.0.weight": (1280,)})


def test_the_base_has_the_weights_of_the_file_until_the_adapter_is_unloaded(
    base: WanTransformer3DModel, file: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    before = {name: value.clone() for name, value in base.state_dict().items()}
    pipe = pipeline(base, file)
    assert torch.equal(base.blocks[0].attn2.to_q.weight, file["blocks.0.cross_attn.q.weight"])
    assert "weights of the WanTransformer3DModel are now those of the adapter's file" in caplog.text
    pipe.unload_adapter()
    for name, value in base.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert pipe.config.default_text_guidance == 5.0


def test_a_base_that_has_them_already_is_left_alone(
    base: WanTransformer3DModel, file: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    adapter = load_adapter(file)
    base.load_state_dict(adapter.base_weights)
    pipeline(base, adapter)
    assert "adapter's file" not in caplog.text


def test_a_file_of_another_base_is_refused(file: dict[str, Tensor]) -> None:
    deeper = WanTransformer3DModel(**{**WAN, "num_layers": 4})
    before = {name: value.clone() for name, value in deeper.state_dict().items()}
    with pytest.raises(
        InvalidInputError, match=r"not this WanTransformer3DModel: blocks\.3\..* is absent there"
    ):
        pipeline(deeper, file)
    for name, value in deeper.state_dict().items():
        assert torch.equal(value, before[name]), name
    wider = WanTransformer3DModel(**{**WAN, "attention_head_dim": 24})
    with pytest.raises(InvalidInputError, match="inner width 96"):
        pipeline(wider, file)


def test_a_file_that_lacks_something_is_refused(file: dict[str, Tensor]) -> None:
    for name in ("style_model.ln1.weight", "blocks.1.cross_attn.v_img.bias", "style_model.style_emb"):
        with pytest.raises(CheckpointError, match="missing"):
            load_adapter({key: value for key, value in file.items() if key != name})
    with pytest.raises(CheckpointError, match="without a place"):
        load_adapter({**file, "style_model.extra.weight": torch.zeros(1)})


def test_layers_without_a_style_model_take_style_tokens_alone(
    base: WanTransformer3DModel, file: dict[str, Tensor]
) -> None:
    adapter = load_adapter({key: v for key, v in file.items() if not key.startswith("style_model.")})
    pipe = pipeline(base, adapter)
    style = draw("sm.style_feat", 2, 5, 64)
    comparison = Comparison(1e-5)
    comparison.add("out", alone(pipe, style), expected("tiny/stylemaster_dit")["out"])
    comparison.check()
    with pytest.raises(InvalidInputError, match="without its style model"):
        adapter.encode(torch.zeros(1, 5, 1))
