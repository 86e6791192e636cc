"""What a refusal for want of memory says, and that what was saved is recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stylecrafter.errors import InvalidInputError
from stylecrafter.generation.engine import Engine
from stylecrafter.generation.memory import Plan, check_clip, counted_remedies, estimate_for, remedies
from stylecrafter.generation.models import ModelFacts, look_up_model
from stylecrafter.generation.replay import settings_of
from stylecrafter.generation.settings import GenerationSettings, prepare
from stylecrafter.pipelines.memory_options import MemoryOptions, Workload
from tests.tiny import tiny_pipeline

HUGE = Workload(1000, 4000, 4000)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    folder = tmp_path_factory.mktemp("model")
    tiny_pipeline().save_pretrained(folder)
    return look_up_model(folder)


def test_a_refusal_names_flags_and_what_each_would_take(facts: ModelFacts) -> None:
    with pytest.raises(
        InvalidInputError, match=r"use fewer frames or a smaller size\. What takes less"
    ) as found:
        check_clip(facts, Plan(HUGE, torch.float32), CPU)
    for flags in (
        "--window 3 (",
        "--frames 500 (",
        "--size 2000x2000 (",
        "--low-memory (",
        "--dtype bfloat16 (",
    ):
        assert flags in str(found.value)
    assert "--offload" not in str(found.value)  # which is for GPUs


def test_what_a_flag_would_take_is_what_it_takes(facts: ModelFacts) -> None:
    plan = Plan(Workload(3, 64, 64, 1), torch.float32, device_type="cuda")
    found = remedies(facts, plan)
    assert found["--size 32x32"] == estimate_for(facts, replace(plan, work=Workload(3, 32, 32, 1))).total
    together = next(
        flags for flags in found if flags.startswith("--low-memory --offload group --weights fp8")
    )
    assert found[together] == min(found.values()) and list(found.values()) == sorted(found.values())
    # Of a model that is loaded, only the clip can change.
    assert all("--low" not in flags for flags in remedies(facts, plan, loaded=True))
    saving = replace(plan, options=MemoryOptions(True, "group", "fp8"), dtype=torch.bfloat16)
    assert "--low-memory" not in counted_remedies(facts, saving)


def test_more_of_a_clip_takes_more(facts: ModelFacts) -> None:
    work = Workload(3, 64, 64, 1)
    plain = estimate_for(facts, Plan(work, torch.float32))
    masked = estimate_for(facts, Plan(replace(work, references=2, masks=2), torch.float32))
    assert masked.working >= plain.working and masked.weights == plain.weights
    low = estimate_for(facts, Plan(work, torch.float32, MemoryOptions(low_memory=True), "cuda"))
    assert low.total < plain.total and low.host == plain.weights
    windows = estimate_for(facts, Plan(replace(work, frames=12, window=3), torch.float32, low_options()))
    assert windows.working < 1.5 * estimate_for(facts, Plan(work, torch.float32, low_options())).working


def low_options() -> MemoryOptions:
    return MemoryOptions(low_memory=True)


def test_what_was_saved_is_recorded_and_made_again(facts: ModelFacts, tmp_path: Path) -> None:
    settings = GenerationSettings(
        prompt="a red fox", model=facts.name, steps=1, seed=1, low_memory=True, weights_as="fp8"
    )
    job = prepare(settings, ".mp4", facts)
    engine = Engine(facts, "cpu", memory=settings.memory)
    frames, record = engine.run(job, tmp_path / "out.mp4")
    assert engine.pipe.low_memory and engine.pipe.weights_as == "fp8" and len(frames) == 3
    assert record.model_dump()["low_memory"] is True and record.memory == settings.memory.recorded()
    again = settings_of(record, [], facts.name)
    assert (again.low_memory, again.weights_as) == (True, "fp8")
    plain = GenerationSettings(prompt="a red fox", model=facts.name, steps=1, seed=1)
    _, without = Engine(facts, "cpu").run(prepare(plain, ".mp4", facts), tmp_path / "out.mp4")
    assert without.memory == {} and "low_memory" not in without.model_dump()
