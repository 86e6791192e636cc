"""StyleWorld sources at toy size for the tests of training."""

from __future__ import annotations

from stylecrafter.data.world_source import WorldSource
from stylecrafter.styleworld import splits


def tiny_pictures(batch_size: int = 4, **changes) -> WorldSource:
    """Styled pictures of 16 x 16 with references, half of which show other content."""
    given = {"references": "crop", "cross_reference_ratio": 0.5, **changes}
    return WorldSource(vocabulary=splits.SMALL, size=16, batch_size=batch_size, **given)


def tiny_clips(batch_size: int = 2, **changes) -> WorldSource:
    """Plain clips of three frames of 16 x 16."""
    given = {"styled_ratio": 0.0, **changes}
    return WorldSource(vocabulary=splits.SMALL, size=16, batch_size=batch_size, num_frames=3, **given)
