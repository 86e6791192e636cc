"""What the method adds to a text-to-video model; knows no backbone."""

from __future__ import annotations
