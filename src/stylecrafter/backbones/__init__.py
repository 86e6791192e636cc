"""The base models that the adapter is attached to: one file per family, and the protocol that they all follow."""

from __future__ import annotations
