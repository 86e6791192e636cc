"""From prompt and picture to frames."""
