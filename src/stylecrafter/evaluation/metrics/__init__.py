"""One small module per question; every function says its source, range and direction.

* `style`: descriptor of colour and texture, and which of several references a clip looks like.
* `colour`, `texture`, `copying`: palette, strokes and copied content against the reference.
* `temporal`: warping error, flicker and dynamics of a clip, by the optical flow of `flow` or `raft`.
* `similarity`: cosines in the space of one of `encoders` (CLIP, DINO, CSD).

`info` and `infos.toml` say what each score is.
"""
