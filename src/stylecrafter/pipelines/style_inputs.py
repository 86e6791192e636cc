"""Style tokens of adapters that read more than image tokens: a prompt, and an embedding of each picture."""

from __future__ import annotations

from torch import Tensor

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.errors import InvalidInputError


def encoded(
    adapter: StyleAdapter,
    tokens: Tensor,
    token_weights: Tensor | None,
    image_embeds: Tensor | None,
    text: Tensor | None,
) -> Tensor:
    """Style tokens (b, q, d), with b the number of styles or of texts, whichever is not one.

    Args:
        adapter: Encodes.
        tokens: Image tokens (s, n, w) of the styles.
        token_weights: (s, n), or None.
        image_embeds: (s, w), or None where the adapter does not need them.
        text: States (t, l, d); None, or unread, where the adapter does not need them.

    Raises:
        InvalidInputError: No texts where they are needed, or as many as go with no styles.
    """
    styles = tokens.shape[0]
    if "text" not in adapter.needs:
        text, rows = None, styles
    elif text is None:
        raise InvalidInputError(
            "the style tokens of this adapter depend on the prompt: give encode_style its states too "
            "(text=pipe.encode_text(prompt))"
        )
    elif styles != text.shape[0] and 1 not in (styles, text.shape[0]):
        raise InvalidInputError(
            f"got {styles} styles for {text.shape[0]} texts; give one of either, or as many"
        )
    else:
        rows = max(styles, text.shape[0])

    def for_all(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.expand(rows, *value.shape[1:])

    return adapter.encode(
        tokens.to(adapter.dtype).expand(rows, -1, -1),
        for_all(None if image_embeds is None else image_embeds.to(adapter.dtype)),
        for_all(text),
        token_weights=for_all(token_weights),
    )
