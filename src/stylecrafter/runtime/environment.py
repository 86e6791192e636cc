"""What the libraries below us read from the environment, set before any of them is loaded.

They read these variables once, when they are imported or start, so whoever sets them has to come first. A variable
that is set already, to whatever value, is the user's own choice and stays. Child processes inherit all of them.
"""

from __future__ import annotations

import os

NO_TELEMETRY = {
    # From 1.29 on it writes a device id and a database of events below the home folder when diffusers imports it,
    # and sends them; its own function to switch that off comes too late.
    "ORT_DISABLE_TELEMETRY": "1",
    # huggingface_hub, and diffusers and transformers, which ask it: what runs here and for whom, in every request.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # transformers asks a service to convert any model of the hub that has no safetensors.
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    # What trackers of training report of themselves; the run itself is sent where a recipe asks for it.
    "WANDB_ERROR_REPORTING": "false",
    # Of clusters that work is spread over.
    "RAY_USAGE_STATS_ENABLED": "0",
    # The convention that others share.
    "DO_NOT_TRACK": "1",
}
"""Variables that keep libraries from sending anything that nobody asked for."""

IDLE_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""OpenMP threads sleep while they wait: the standard's name for it, then those of GNU's and of LLVM's and Intel's."""


def decline_telemetry() -> None:
    """Switch off what libraries would send about this machine.

    Called when the package is imported: the libraries of anyone who uses it then come after.
    """
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def let_threads_sleep() -> None:
    """Have OpenMP threads that wait for each other sleep instead of spin; for commands, before torch is loaded.

    Where another process has one of the cores, spinning threads keep those that have work from running: a clip took up
    to ten times its processor time. Alone it takes the same either way. One variable that is set means that somebody
    chose, and none is added to it.
    """
    if not any(name in os.environ for name in IDLE_THREADS):
        os.environ.update(IDLE_THREADS)
