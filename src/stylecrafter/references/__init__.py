"""From a style picture to image tokens: the one way there, for pipelines, training and evaluation alike."""
