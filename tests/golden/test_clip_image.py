"""Pixels -> image tokens against the published image encoder, tiny and at full size."""
