"""One small module per question; every function says its source, range and direction.

* `style`: descriptor of colour and texture, and which of several references a clip looks like.
* `colour`: distance between the palettes of two pictures.
* `temporal`: warping error, flicker and dynamics of a clip.
"""
