"""Numbers that are none end a call with the step they came at, instead of a black picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stylecrafter import StyleCrafterImagePipeline
from stylecrafter.errors import InvalidInputError
from stylecrafter.pipelines.finite import StepWatch, check_computed
from tests.tiny import WIDTH, tiny_pipeline

NAN, INF = float("nan"), float("inf")
TOKENS = torch.zeros(1, 2, WIDTH)
TEXT = torch.zeros(1, 16, WIDTH)
LATENTS = torch.zeros(1, 4, 3, 8, 12)


def spoiled(tensor: torch.Tensor, value: float = NAN) -> torch.Tensor:
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize(
    ("name", "tensor", "beside"),
    [
        ("style_tokens", TOKENS, {"prompt": "a fox"}),
        ("style_scales", torch.ones(1, 5), {"prompt": "a fox", "style_tokens": TOKENS}),
        ("text_embeds", TEXT, {}),
        ("negative_text_embeds", TEXT, {"prompt": "a fox"}),
        ("latents", LATENTS, {"prompt": "a fox"}),
    ],
)
def test_given_tensors(pipe, name: str, tensor: torch.Tensor, beside: dict[str, Any], value: float) -> None:
    if name == "style_scales":
        tensor = torch.ones(1, pipe.style_adapter.num_layers)
    with pytest.raises(InvalidInputError, match=f"{name} must be finite numbers; 1 of [0-9,]+ are not"):
        pipe(**beside, **{name: spoiled(tensor, value)})
    with pytest.raises(InvalidInputError, match=f"{name} must be a tensor, got list"):
        pipe(**beside, **{name: [[1.0]]})


def test_pictures_begin_with_given_latents_too(pipe) -> None:
    images = StyleCrafterImagePipeline.from_pipe(pipe)
    images.set_progress_bar_config(disable=True)
    with pytest.raises(InvalidInputError, match="latents must be finite"):
        images("a fox", latents=spoiled(LATENTS[:, :, 0]))
    with pytest.raises(InvalidInputError, match="latents must be a tensor"):
        images("a fox", latents=[1.0])


@pytest.mark.parametrize("output_type", ["pil", "latent"])
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("name", ["latents", "text_embeds", "style_tokens", "style_scales"])
def test_what_a_callback_returns(pipe, picture, name: str, step: int, output_type: str) -> None:
    def callback(_: Any, i: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {name: spoiled(tensors[name].contiguous())} if i == step else {}

    with pytest.raises(
        InvalidInputError, match=f"what the callback left at step {step + 1} of 3: not finite"
    ):
        pipe("a fox", picture, output_type=output_type, callback_on_step_end=callback,
             callback_on_step_end_tensor_inputs=[name])  # fmt: skip


def test_what_a_callback_changes_in_place(pipe) -> None:
    def callback(_: Any, i: int, t: Any, tensors: dict[str, Any]) -> None:
        if i == 2:
            tensors["latents"].fill_(NAN)

    with pytest.raises(InvalidInputError, match="what the callback left at step 3 of 3"):
        pipe("a fox", output_type="latent", callback_on_step_end=callback)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ({"latent": LATENTS}, "'latent', which is no tensor of latents"),
        ({"latents": 3}, "'latents'"),
        ([1], "got list"),
    ],
)
def test_what_a_callback_cannot_return(pipe, returned: Any, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        pipe("a fox", callback_on_step_end=lambda *_: returned)


@pytest.fixture(params=["float32", "float16"])
def broken(request: pytest.FixtureRequest) -> Any:
    """A pipeline and what it advises; its weights may be broken by a test."""
    pipe = tiny_pipeline()
    if request.param == "float16":
        pipe.to(torch.float16)
    return (
        pipe,
        "use float32 or bfloat16" if request.param == "float16" else "beyond what the model computes with",
    )


def test_predicted_noise(broken: Any) -> None:
    pipe, advice = broken
    pipe.unet.conv_out.bias.data[0] = INF
    for output_type in ("pil", "latent"):
        with pytest.raises(InvalidInputError, match=f"latents at step 1 of 3: not finite .*{advice}"):
            pipe("a fox", output_type=output_type)


def test_conditions(broken: Any) -> None:
    pipe, advice = broken
    pipe.text_encoder.final_layer_norm.bias.data[0] = NAN
    with pytest.raises(
        InvalidInputError, match=f"text_embeds, .* before the first step: not finite .*{advice}"
    ):
        pipe("a fox")


def test_decoding(broken: Any) -> None:
    pipe, advice = broken
    pipe.vae.decoder.conv_out.bias.data[0] = INF
    with pytest.raises(InvalidInputError, match=f"frames after decoding: not finite .*{advice}"):
        pipe("a fox")
    with pytest.raises(InvalidInputError, match="latents before decoding: not finite"):
        pipe.decode_latents(spoiled(LATENTS))


def test_numbers_that_given_factors_blow_up(pipe, picture) -> None:
    factors = torch.full((1, pipe.style_adapter.num_layers), 3e38)
    with pytest.raises(InvalidInputError, match="latents at step 1 of 3: not finite"):
        pipe("a fox", picture, style_scales=factors, style_scale=1000.0)


def test_accelerators_are_asked_at_the_end() -> None:
    class Elsewhere(torch.Tensor):
        """A tensor that says it lies on another device."""

        @property
        def device(self) -> torch.device:  # type: ignore[override]
            return torch.device("cuda")

    watch = StepWatch(5, torch.float16)
    for step, value in enumerate((1.0, 2.0, NAN, 4.0, NAN)):
        watch.see("latents", step, torch.tensor([value]).as_subclass(Elsewhere))
    with pytest.raises(InvalidInputError, match="latents at step 3 of 5"):
        watch.finish()
    watch.finish()


def test_what_is_absent_is_not_looked_at() -> None:
    check_computed("here", {"latents": LATENTS, "style_tokens": None}, torch.float32)
