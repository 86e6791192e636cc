"""From settings to a file and back: what the command line, a batch and the web page share.

Checking settings needs neither torch nor a model; only `run` loads them.
"""
