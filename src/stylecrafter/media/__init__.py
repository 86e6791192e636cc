"""Reading pictures, writing clips, and the settings kept inside them. Knows nothing of models."""
