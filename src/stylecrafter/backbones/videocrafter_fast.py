"""The fast mode of VideoCrafter's family, apart from its class: commands tell of it before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: As `Backbone.fast`.
VIDEOCRAFTER_FAST: Mapping[str, Any] = MappingProxyType({"guidance_every": 2, "reuse_every": 2})
