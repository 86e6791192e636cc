"""The text-to-video models that the adapter is attached to."""

from __future__ import annotations
