"""Every base model is asked the same questions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from torch import Tensor

from stylecrafter.backbones.animatediff import AnimateDiff
from stylecrafter.backbones.families import backbone_for
from stylecrafter.backbones.protocol import Backbone
from stylecrafter.backbones.stable_diffusion import StableDiffusion
from stylecrafter.backbones.videocrafter import VideoCrafter
from stylecrafter.errors import InvalidInputError
from tests.tiny import (
    TEXT_LENGTH,
    WIDTH,
    animatediff_unet,
    stable_diffusion_unet,
    tiny_components,
    videocrafter_unet,
)

MAKERS: dict[type[Backbone], Any] = {
    VideoCrafter: videocrafter_unet,
    StableDiffusion: stable_diffusion_unet,
    AnimateDiff: animatediff_unet,
}
#: What the names of all temporal parameters have in them.
TEMPORAL = {VideoCrafter: "tempor", AnimateDiff: ".motion_modules."}
#: The layers of each family's tiny denoiser, as their scales are counted.
ORDER = {
    VideoCrafter: ["down_blocks", "mid_block", "up_blocks"],
    StableDiffusion: ["down_blocks", "up_blocks", "mid_block"],
    AnimateDiff: ["down_blocks", "up_blocks", "mid_block"],
}


def components(family: type[Backbone], prediction_type: str = "epsilon") -> dict[str, Any]:
    made = tiny_components(0, prediction_type, MAKERS[family])
    return {name: made[name] for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}


@pytest.fixture(scope="module", params=MAKERS)
def family(request: pytest.FixtureRequest) -> type[Backbone]:
    return request.param


@pytest.fixture(scope="module")
def base(family: type[Backbone]) -> Backbone:
    return backbone_for(**components(family))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_family_is_told_by_the_denoiser(family: type[Backbone], base: Backbone) -> None:
    assert type(base) is family
    assert list(base.models()) == ["vae", "text_encoder", "unet"]
    assert base.denoiser is base.components["unet"] and base.dtype == torch.float32
    base.check()


def test_a_denoiser_that_is_not_known_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="unet of Linear; known are VideoCrafter, Stable Diffusion"):
        backbone_for(unet=torch.nn.Linear(1, 1))
    with pytest.raises(InvalidInputError, match="unet of NoneType"):
        backbone_for(unet=None)
    sdxl = UNet2DConditionModel(
        block_out_channels=(8,), down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=8, attention_head_dim=2, norm_num_groups=4, layers_per_block=1,
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=32,
    )  # fmt: skip
    assert not StableDiffusion.accepts(sdxl)


def test_sizes(base: Backbone) -> None:
    assert base.latent_channels == 4 and base.text_dim == WIDTH
    assert base.pixels_per_latent == 2 and base.size_multiple == 4
    assert base.latent_shape(1, 16, 24) == (4, 1, 8, 12)
    if base.has_time:
        assert base.latent_shape(3, 16, 24) == (4, 3, 8, 12)
    else:
        with pytest.raises(InvalidInputError, match="makes images: num_frames must be 1, got 3"):
            base.latent_shape(3, 16, 24)


def test_latent_frames_may_stand_for_several(base: Backbone) -> None:
    class Causal(VideoCrafter):
        frames_per_latent = 4

    causal = Causal(**base.components)
    assert [causal.latent_shape(f, 16, 16)[1] for f in (1, 5, 81)] == [1, 2, 21]
    with pytest.raises(InvalidInputError, match=r"clips of 1, 5, 9 … frames, got 16"):
        causal.latent_shape(16, 16, 16)


def test_texts(base: Backbone) -> None:
    ids = base.tokenize(["a red fox", base.no_text])
    assert ids.shape == (2, TEXT_LENGTH) and ids.dtype == torch.long
    states = base.encode_tokens(ids)
    assert states.shape == (2, TEXT_LENGTH, WIDTH) and states.requires_grad
    assert torch.equal(states[1:], base.encode_tokens(base.tokenize([""])))
    assert not torch.allclose(states[0], states[1])
    assert base.text_arguments(ids) == {}
    assert base.cut_off("a red fox")[0] == ""
    cut, tokens, room = base.cut_off("a red fox running on a lake " * 9)
    assert room == TEXT_LENGTH - 2 < tokens and cut.endswith("lake")


def test_frames_become_latents_and_come_back(base: Backbone) -> None:
    frames = torch.rand(2, 3 if base.has_time else 1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    shape = base.latent_shape(frames.shape[1], 16, 24)
    with torch.no_grad():
        latents = base.encode_frames(frames)
        assert latents.shape == (2, *shape) and latents.dtype == torch.float32
        sampled = base.encode_frames(frames, draw(2, *shape))
        assert not torch.equal(sampled, latents)
        assert torch.equal(base.encode_frames(frames, torch.zeros(2, *shape)), latents)
        # Frame by frame, in order.
        vae = base.component("vae")
        last = vae.encode(frames[1, -1:] * 2 - 1).latent_dist.mean * vae.config.scaling_factor
        torch.testing.assert_close(latents[1:, :, -1], last)
        decoded = base.decode_latents(latents)
        assert decoded.shape == frames.shape
        torch.testing.assert_close(base.decode_latents(latents, chunk_size=1), decoded)
        pixels = vae.decode(last / vae.config.scaling_factor).sample / 2 + 0.5
        torch.testing.assert_close(decoded[1:, -1], pixels)


def test_more_frames_than_there_can_be_are_not_encoded() -> None:
    base = backbone_for(**components(StableDiffusion))
    with pytest.raises(InvalidInputError, match="num_frames must be 1, got 2"):
        base.encode_frames(torch.rand(1, 2, 3, 16, 16))


def test_prediction(family: type[Backbone], base: Backbone) -> None:
    latents, text = draw(2, 4, 1, 8, 12), draw(2, 5, WIDTH)
    with torch.no_grad():
        together = base.predict(latents, 500, text)
        alone = [base.predict(latents[i : i + 1], torch.tensor([500]), text[i : i + 1]) for i in (0, 1)]
    assert together.shape == latents.shape
    torch.testing.assert_close(torch.cat(alone), together)
    refused = {
        "latents must be": (latents[:, :3], text),
        "text embeddings must be": (latents, text[:1]),
        "style tokens must be": (latents, text, draw(2, 4, WIDTH + 1)),
        "need an adapter": (latents, text, draw(2, 4, WIDTH)),
        "without style_tokens": (latents, text, None, torch.ones(2, 3)),
        "style scales must be": (latents, text, draw(2, 4, WIDTH), torch.ones(1, 3)),
    }
    for says, (noisy, *others) in refused.items():
        with pytest.raises(InvalidInputError, match=says):
            base.predict(noisy, 500, *others)
    if not base.has_time:
        for noisy, temporal in ((draw(2, 4, 3, 8, 12), None), (latents, True)):
            with pytest.raises(InvalidInputError, match="no layers between frames"):
                base.predict(noisy, 500, text, temporal=temporal)


def test_base_arguments_reach_the_denoiser() -> None:
    base = backbone_for(**components(StableDiffusion))
    latents, text = draw(1, 4, 1, 8, 8), draw(1, 5, WIDTH)
    with torch.no_grad():
        plain = base.predict(latents, 500, text)
        # What a ControlNet adds in the middle.
        features = base.denoiser.config.block_out_channels[-1], 4, 4
        down = [
            torch.zeros(1, 8, 8, 8),
            torch.zeros(1, 8, 8, 8),
            torch.zeros(1, 8, 4, 4),
            torch.zeros(1, 16, 4, 4),
        ]
        changed = base.predict(
            latents,
            500,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=draw(1, *features),
        )
    assert not torch.allclose(changed, plain)


def test_layers_stand_in_the_order_of_their_scales(family: type[Backbone], base: Backbone) -> None:
    layers = base.attention_layers()
    assert list(dict.fromkeys(name.split(".")[0] for name in layers)) == ORDER[family]
    for layer in layers.values():
        assert layer.is_cross_attention and layer.cross_attention_dim == base.text_dim
        assert layer.to_k.out_features in (8, 16)


def test_temporal_parameters(base: Backbone) -> None:
    found = base.temporal_parameters()
    assert bool(found) is base.has_time
    own = dict(base.denoiser.named_parameters())
    assert all(own[name] is value for name, value in found.items())
    if base.has_time:
        assert list(found) == [name for name in own if TEMPORAL[type(base)] in name]


def test_noise_and_targets(family: type[Backbone]) -> None:
    latents, noise, steps = draw(2, 4, 1, 2, 2), draw(2, 4, 1, 2, 2, seed=1), torch.tensor([10, 900])
    base = family(**components(family))
    assert base.num_train_timesteps == 1000
    alpha = base.component("scheduler").alphas_cumprod[steps].view(2, 1, 1, 1, 1)
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
    torch.testing.assert_close(base.add_noise(latents, noise, steps), noisy)
    assert base.target(latents, noise, steps) is noise
    velocity = family(**components(family, "v_prediction"))
    expected = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    torch.testing.assert_close(velocity.target(latents, noise, steps), expected)
    with pytest.raises(InvalidInputError, match="epsilon or v_prediction, got 'sample'"):
        family(scheduler=DDIMScheduler(prediction_type="sample")).target(latents, noise, steps)
    # Training's noise does not depend on the sampler that is chosen.
    euler = EulerDiscreteScheduler.from_config(base.component("scheduler").config)
    other = family(**{**base.components, "scheduler": euler})
    assert torch.equal(other.add_noise(latents, noise, steps), base.add_noise(latents, noise, steps))


def test_what_needs_no_component_works_without_it(family: type[Backbone], base: Backbone) -> None:
    bare = backbone_for(unet=base.denoiser, vae=None, text_encoder=None, tokenizer=None, scheduler=None)
    bare.check()
    assert list(bare.models()) == ["unet"] and bare.pixels_per_latent == 8
    assert bare.attention_layers() and bare.text_dim == WIDTH
    latents, text = draw(1, 4, 1, 8, 8), draw(1, 5, WIDTH)
    assert torch.equal(bare.predict(latents, 1, text), base.predict(latents, 1, text))
    for name, call in {
        "vae": lambda: bare.decode_latents(latents),
        "tokenizer": lambda: bare.tokenize(["a"]),
        "text_encoder": lambda: bare.encode_tokens(torch.zeros(1, 3, dtype=torch.long)),
        "scheduler": lambda: bare.target(latents, latents, torch.tensor([1])),
    }.items():
        with pytest.raises(InvalidInputError, match=f"{family.label} model has no {name} "):
            call()


def test_components_that_do_not_go_together(family: type[Backbone]) -> None:
    given = components(family)
    for channels, says in (
        ({"in_channels": 9}, "the UNet reads 9 channels and gives 4"),
        ({"in_channels": 8, "out_channels": 8}, "latents of 4 channels, the UNet reads 8"),
    ):
        unet = MAKERS[family](**channels)
        with pytest.raises(InvalidInputError, match=says):
            family(**{**given, "unet": unet}).check()
