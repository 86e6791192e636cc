"""The rule that regenerates weights and inputs gives the published check sums."""

from __future__ import annotations

import hashlib

import numpy as np

from tests.golden.regenerate import weight
from tests.golden.support import key_lists


def test_weights_have_the_published_check_sums() -> None:
    checks = key_lists()["weights_check"]
    assert len(checks) == 9
    for key, check in checks.items():
        values = weight(key, check["shape"])
        np.testing.assert_allclose(values.ravel()[:4], check["first"], rtol=1e-6)
        assert hashlib.sha256(values.tobytes()).hexdigest() == check["sha256"], key


def test_key_lists_have_the_published_counts() -> None:
    full = key_lists()["full"]
    assert len(full["adapter"]) == 139
    assert len(full["temporal"]) == 17
    prefixes = [key.split(".")[0] for key in full["model"]]
    counts = {prefix: prefixes.count(prefix) for prefix in ("model", "first_stage_model", "cond_stage_model")}
    assert counts == {"model": 1196, "first_stage_model": 248, "cond_stage_model": 294}
