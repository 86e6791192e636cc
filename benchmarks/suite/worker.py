"""Makes clips with whatever `stylecrafter` it finds, one for each line of knobs; started by `before`.

    python worker.py MODEL DEVICE PICTURE FRAMES.npy

Uses nothing that earlier revisions do not have, and nothing of this package.
"""

import json
import resource
import sys
import time

from stylecrafter.runtime.environment import let_threads_sleep

let_threads_sleep()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers.utils import logging as diffusers_logging  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from stylecrafter import StyleCrafterPipeline  # noqa: E402


def main() -> None:
    model, device, picture, file = sys.argv[1:]
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    pipe = StyleCrafterPipeline.from_pretrained(model).to(device)
    pipe.set_progress_bar_config(disable=True)
    for line in sys.stdin:
        knobs = json.loads(line)
        started = time.perf_counter(), time.process_time()
        out = pipe("a dog in a meadow", style_images=picture, seed=7, **knobs).frames[0]
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        cost = {
            "wall": time.perf_counter() - started[0],
            "cpu": time.process_time() - started[1],
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        np.save(file, torch.as_tensor(out).float().cpu().numpy())
        print(json.dumps(cost), flush=True)


if __name__ == "__main__":
    main()
