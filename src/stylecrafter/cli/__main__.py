"""`python -m stylecrafter.cli`."""

from __future__ import annotations

from stylecrafter.cli.main import main

main()
