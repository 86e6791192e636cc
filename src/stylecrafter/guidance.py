"""Guidance with two conditions, text and style: equation 2 of the paper, and the published sampler's variant of it.

    paper       e = e_null + s_style (e_ts - e_t) + s_text (e_t - e_null)
    published   e = e_ts   + s_style (e_ts - e_t) + s_text (e_t - e_null)

e_null is the prediction without prompt and style, e_t with the prompt, e_ts with both. Since
e_ts = e_null + (e_ts - e_t) + (e_t - e_null), the published form is the paper's with both scales raised by one: its
15 and 7.5 are 16 and 8.5 here. The weights of the three predictions add up to one in either form, so the formula holds
for velocity predictions as well as for noise: at one noisy sample the one is an affine function of the other.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from stylecrafter.errors import InvalidInputError


class Passes(NamedTuple):
    """Which of the three predictions guidance needs."""

    null: bool
    text: bool
    style: bool


def published_scales(text_scale: float, style_scale: float) -> tuple[float, float]:
    """The scales of equation 2 that reproduce the published sampler at its scales.

    One exception of the published code is not reproduced: at a text scale of exactly 1 it leaves out all guidance,
    that of the style included, which makes the style jump there.
    """
    return text_scale + 1.0, style_scale + 1.0


def needed_passes(text_scale: float, style_scale: float | None) -> Passes:
    """The predictions whose weight is not zero; `style_scale` None is no style at all.

    The weights are 1 - s_text for e_null, s_text - s_style for e_t and s_style for e_ts.
    """
    style = style_scale or 0.0
    passes = Passes(text_scale != 1.0, text_scale != style, style != 0.0)
    return passes if any(passes) else Passes(False, True, False)


def guide(
    null: Tensor | None,
    text: Tensor | None,
    style: Tensor | None,
    text_scale: float,
    style_scale: float | None,
) -> Tensor:
    """Combine predictions of one shape by equation 2.

    Args:
        null: e_null, or None where `needed_passes` says that it is not needed.
        text: e_t, likewise.
        style: e_ts, likewise.
        text_scale: s_text; 1 is no guidance by text.
        style_scale: s_style; None or 0 is no style.

    Raises:
        InvalidInputError: A prediction that the scales need is missing.
    """
    passes = needed_passes(text_scale, style_scale)
    for name, needed, value in zip(passes._fields, passes, (null, text, style), strict=True):
        if needed and value is None:
            raise InvalidInputError(
                f"guidance with text scale {text_scale} and style scale {style_scale} needs the {name} prediction"
            )
    s = style_scale or 0.0
    if null is not None and text is not None:
        out = null + text_scale * (text - null)
        return out if style is None or not passes.style else out + s * (style - text)
    if text is not None:  # s_text is 1
        return text if style is None or not passes.style else text + s * (style - text)
    if style is None:  # s_text and s_style are 0
        return null  # type: ignore[return-value]
    return style if null is None else null + s * (style - null)  # s_text is s_style


def rescale(guided: Tensor, conditional: Tensor, amount: float) -> Tensor:
    """Pull the spread of a guided prediction back to that of the conditional one (Lin et al. 2023, section 3.4).

    Args:
        guided: What `guide` returned, (b, ...).
        conditional: The prediction for all conditions, of the same shape.
        amount: 0 leaves `guided` as it is, 1 gives every sample the standard deviation of `conditional`.
    """
    if amount == 0.0:
        return guided
    axes = tuple(range(1, guided.ndim))
    ratio = conditional.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True).clamp_min(1e-8)
    return guided * (amount * ratio + (1.0 - amount))
