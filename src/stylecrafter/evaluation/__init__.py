"""Does a clip show what the prompt says, in the style of the picture? Clips of a test set, measured and reported.

`metrics` holds what is asked of any clip; `truth` is all that knows StyleWorld: its sets, and probes trained on it.
"""
