"""Adapters from anywhere: our folders, and every published format, recognised by its tensors."""

from __future__ import annotations

from stylecrafter.adapter.style_adapter import StyleAdapter
from stylecrafter.weights.formats.checkpoint_files import Source


def load_adapter(
    source: Source, *, num_heads: int | None = None, scale_heads: int | None = None
) -> StyleAdapter:
    """Load an adapter, whatever published it.

    Args:
        source: A folder or hub id of ours; a file (`.safetensors`, or a torch file, read with `weights_only=True`);
            or a state dict.
        num_heads: Attention heads of its extractor, which shapes do not tell; None: as published.
        scale_heads: Attention heads of its scale predictor, likewise.

    Raises:
        CheckpointError: It is of no known format, or has tensors that are missing, left over or misshapen.
    """
    return StyleAdapter.from_pretrained(source)
