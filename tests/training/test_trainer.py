"""The loop: resuming equals never having stopped, whatever stopped it."""

from __future__ import annotations

import csv
import errno
import os
import signal
import threading
from pathlib import Path

import pytest
import torch

from stylecrafter.errors import CheckpointError, DivergedError, InvalidInputError, OutputError
from stylecrafter.training.checkpoint import (
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from stylecrafter.training.processes import placed_moments
from stylecrafter.training.stages import AdapterStage, DiffusionConfig, JointStage
from stylecrafter.training.tracking import begun
from stylecrafter.training.train_config import TrainConfig, learning_rate_factor
from stylecrafter.training.trainer import Trainer
from tests.training.tiny_parts import tiny_parts
from tests.training.tiny_sources import tiny_clips, tiny_pictures

CONFIG = TrainConfig(steps=6, learning_rate=1e-3, warmup_steps=2, ema_decay=0.9, log_every=1)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def trainer(folder: Path, config: TrainConfig = CONFIG, **options) -> Trainer:
    stage = AdapterStage(tiny_parts(), DiffusionConfig(picture_reuse=2), pictures=tiny_pictures())
    return Trainer(stage, config, folder, **options)


def losses(folder: Path) -> list[float]:
    with (folder / "losses.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def same_state(first: Path, second: Path) -> None:
    one, two = (load_checkpoint(list_checkpoints(folder)[-1]) for folder in (first, second))
    assert one["step"] == two["step"]
    for kind in ("weights", "ema"):
        for name, value in one[kind].items():
            assert torch.equal(value, two[kind][name]), f"{kind} {name}"
    for name, moments in one["moments"].items():
        for key, value in moments.items():
            assert torch.equal(value, two["moments"][name][key]), f"{name} {key}"


def test_resuming_equals_never_having_stopped(tmp_path: Path) -> None:
    trainer(tmp_path / "whole").run()
    first = trainer(tmp_path / "parts")
    early = [first.train_step() for _ in range(3)]
    first.save()
    second = trainer(tmp_path / "parts")
    second.resume()
    assert second.step == 3
    late = [second.train_step() for _ in range(3)]
    second.save()
    assert losses(tmp_path / "whole") == [pytest.approx(value, rel=1e-5) for value in early + late]
    same_state(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_leaves(tmp_path: Path, number: signal.Signals) -> None:
    trainer(tmp_path / "whole").run()
    run = trainer(tmp_path / "parts")

    def stop(step: int, loss: float) -> None:
        if step == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert run.run(stop) is False and run.stopped_by is number
    assert signal.getsignal(number) is before
    assert list_checkpoints(tmp_path / "parts") == [checkpoint_path(tmp_path / "parts", 4)]
    again = trainer(tmp_path / "parts")
    again.resume()
    assert again.run() is True
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    same_state(tmp_path / "whole", tmp_path / "parts")


def test_a_run_under_nohup_goes_on_without_its_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert trainer(tmp_path).run(lambda step, loss: os.kill(os.getpid(), signal.SIGHUP)) is True
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_stop_between_two_reports_leaves_is_reported_as_without_it(tmp_path: Path) -> None:
    """A line of losses is the mean of some steps, of which a stop may come in the middle."""
    config = CONFIG.replace(log_every=4, steps=8)
    trainer(tmp_path / "whole", config).run()
    for stop in (3, 6):
        run = trainer(tmp_path / "parts", config)
        run.resume()
        run.run(lambda step, loss, stop=stop: step == stop and os.kill(os.getpid(), signal.SIGTERM))
    run = trainer(tmp_path / "parts", config)
    run.resume()
    run.run()
    one, other = (
        list(csv.reader((tmp_path / f / "losses.csv").open(newline=""))) for f in ("whole", "parts")
    )
    assert [row[:-1] for row in one] == [row[:-1] for row in other] and len(one) == 3
    assert (tmp_path / "whole" / "losses.csv").read_bytes().count(b"\r\n") == 3
    assert (tmp_path / "parts" / "losses.csv").read_bytes().count(b"\r\n") == 3


def test_a_kill_before_the_first_checkpoint_leaves_no_line_behind(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(step: int, loss: float) -> None:
        if step == 3:
            raise Killed

    trainer(tmp_path / "whole").run()
    with pytest.raises(Killed):
        trainer(tmp_path / "parts").run(kill)
    assert len(losses(tmp_path / "parts")) == 2 and not list_checkpoints(tmp_path / "parts")
    again = trainer(tmp_path / "parts")
    again.resume()
    again.run()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_the_first_checkpoint_comes_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylecrafter.training.checkpoint.FIRST_SAVE_SECONDS", 0.0)
    seen: list[bool] = []
    trainer(tmp_path).run(lambda step, loss: seen.append(bool(list_checkpoints(tmp_path))))
    assert CONFIG.checkpoint_minutes > 1 and seen[:2] == [False, True]


def test_more_steps_than_asked_for_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InvalidInputError, match=r"beyond the 4 steps.*stages\.adapter\.train\.steps=6"):
        trainer(tmp_path, CONFIG.replace(steps=4)).resume()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("moment", ["step", "save"])
def test_a_stop_that_comes_at_the_very_end_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    run = trainer(tmp_path)
    save = run.save

    def stopped_save() -> None:
        save()
        os.kill(os.getpid(), signal.SIGINT)

    def stop(step: int, loss: float) -> None:
        if step == CONFIG.steps:
            os.kill(os.getpid(), signal.SIGINT)

    if moment == "save":
        monkeypatch.setattr(run, "save", stopped_save)
    assert run.run(stop if moment == "step" else None) is True
    assert run.stopped_by is signal.SIGINT
    assert run.run() is True and run.stopped_by is None


def test_a_stop_that_another_process_is_asked_for_counts_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, CONFIG.replace(steps=1, warmup_steps=0))
    monkeypatch.setattr(run, "_agree", lambda stop, *others: (True, *others))
    assert run.run() is True and run.stopped_by is signal.SIGTERM


@pytest.mark.parametrize("options", [{"fused": True}, {"capturable": True}, {}])
def test_moments_are_put_where_torch_puts_them(options: dict[str, bool]) -> None:
    there = torch.nn.Parameter(torch.zeros(3, device="meta"))
    optimizer = torch.optim.AdamW([there], **options)
    names = ("exp_avg", "exp_avg_sq")
    moments = {"step": torch.tensor(3.0), **{name: torch.ones(3) for name in names}}
    placed = placed_moments(moments, there, optimizer.param_groups[0])
    optimizer.load_state_dict({"state": {0: moments}, "param_groups": optimizer.state_dict()["param_groups"]})
    wanted = optimizer.state[there]
    assert {name: (value.device, value.dtype) for name, value in placed.items()} == {
        name: (value.device, value.dtype) for name, value in wanted.items()
    }


@needs_cuda
def test_a_run_on_a_gpu_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    def on_gpu() -> Trainer:
        parts = tiny_parts()
        for model in parts.models().values():
            model.to("cuda")
        return Trainer(AdapterStage(parts, DiffusionConfig(), pictures=tiny_pictures()), CONFIG, tmp_path)

    first = on_gpu()
    for _ in range(3):
        first.train_step()
    first.save()
    second = on_gpu()
    second.resume()
    for one, other in zip(first.parameters.values(), second.parameters.values(), strict=True):
        before, after = first.optimizer.state[one], second.optimizer.state[other]
        assert {k: v.device for k, v in before.items()} == {k: v.device for k, v in after.items()}
    assert second.train_step() == pytest.approx(first.train_step(), rel=1e-4)


def test_what_was_logged_after_the_checkpoint_is_logged_once(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    for step in range(1, 7):
        run.train_step()
        begun(run.accelerator, step).log({"loss": float(step)}, step=step)
        if step == 2:
            run.save()
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("7,0.")  # killed while it wrote
    again = trainer(tmp_path)
    again.resume()
    assert losses(tmp_path) == [1.0, 2.0]
    again.run()
    assert len(losses(tmp_path)) == 6


def test_a_full_disk_stops_with_the_last_checkpoint_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, CONFIG.replace(checkpoint_minutes=0.0))

    def fill(step: int, loss: float) -> None:
        if step == 3:
            monkeypatch.setattr(os, "fsync", full)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        run.run(fill)
    monkeypatch.undo()
    again = trainer(tmp_path)
    again.resume()
    assert again.step == 2


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    trainer(tmp_path, CONFIG.replace(checkpoint_minutes=0.0, keep_checkpoints=3)).run()
    assert list_checkpoints(tmp_path) == [checkpoint_path(tmp_path, step) for step in (4, 5, 6)]


def test_accumulating_parts_equals_the_whole_batch(tmp_path: Path) -> None:
    trainer(tmp_path / "whole").run()
    trainer(tmp_path / "parts", CONFIG.replace(accumulation=2)).run()
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    plain, saving = (
        trainer(tmp_path / "a"),
        trainer(tmp_path / "b", CONFIG.replace(gradient_checkpointing=True)),
    )
    for run in (plain, saving):
        run.stage.parts.backbone.denoiser.train()  # type: ignore[attr-defined]
    assert saving.stage.parts.backbone.denoiser.is_gradient_checkpointing  # type: ignore[attr-defined]
    for _ in range(2):
        assert saving.train_step() == pytest.approx(plain.train_step(), rel=1e-5)


def test_the_rate_of_a_resumed_run_is_its_own(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.train_step()
    first.save()
    second = trainer(tmp_path, CONFIG.replace(weight_decay=0.25, betas=(0.5, 0.6)))
    second.resume()
    group = second.optimizer.param_groups[0]
    assert group["weight_decay"] == 0.25 and group["betas"] == (0.5, 0.6)
    moments = [state["exp_avg"] for state in second.optimizer.state.values()]
    assert moments and any(moment.abs().sum() > 0 for moment in moments)


def test_training_leaves_the_choice_of_attention_kernel_as_it_was(tmp_path: Path) -> None:
    def settings() -> tuple[bool, bool, bool]:
        cuda = torch.backends.cuda
        return (
            cuda.flash_sdp_enabled(),
            cuda.math_sdp_enabled(),
            cuda.fp16_bf16_reduction_math_sdp_allowed(),
        )

    # Whatever an earlier test left behind: the setting that training turns on is off here.
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)
    before = settings()
    trainer(tmp_path).train_step()
    assert settings() == before


def test_training_lowers_the_loss_of_a_fixed_batch(tmp_path: Path) -> None:
    config = TrainConfig(steps=30, learning_rate=3e-3, warmup_steps=0, ema_decay=0.0)
    run = trainer(tmp_path, config)
    before = run.stage.loss(0).item()
    stage_loss = run.stage.loss
    run.stage.loss = lambda step, shard: stage_loss(0, shard)  # type: ignore[method-assign]
    for _ in range(30):
        run.train_step()
    assert stage_loss(0).item() < before - 1e-3


def test_a_run_leaves_the_averaged_weights_in_the_model(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run()
    average = run.ema.weights()
    for name, value in run.parameters.items():
        assert torch.equal(value.detach(), average[name])


def test_samples_see_the_average_and_training_goes_on_without_it(tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []

    def look(step: int, weights: object) -> None:
        assert weights is None
        current, average = run.stage.trainable(), run.ema.weights()
        seen.append((step, all(torch.equal(current[n], average[n]) for n in current)))

    run = trainer(tmp_path / "looked", CONFIG.replace(sample_every=4), on_sample=look)
    run.run()
    assert seen == [(4, True), (6, True)]
    trainer(tmp_path / "alone").run()
    same_state(tmp_path / "alone", tmp_path / "looked")


def test_a_blended_run_learns_alike_and_goes_part_of_the_way(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def look(step: int, weights: object) -> None:
        seen.append({name: value.detach().clone() for name, value in run.parameters.items()})

    whole, blended = trainer(tmp_path / "whole"), CONFIG.replace(weight_interpolation=0.25)
    before = {name: value.detach().clone() for name, value in whole.parameters.items()}
    whole.run()
    run = trainer(tmp_path / "blended", blended.replace(sample_every=6), on_sample=look)
    run.run()
    same_state(tmp_path / "whole", tmp_path / "blended")
    left = run.averaged_weights()
    assert any(not torch.equal(before[name], value) for name, value in left.items())
    for name, learned in whole.averaged_weights().items():
        torch.testing.assert_close(left[name], before[name] + 0.25 * (learned - before[name]))
        assert torch.equal(run.parameters[name].detach(), left[name])
        assert torch.equal(seen[0][name], left[name])


def test_a_blended_run_goes_on_from_the_weights_that_it_began_with(tmp_path: Path) -> None:
    blended = CONFIG.replace(weight_interpolation=0.25)
    whole = trainer(tmp_path / "whole", blended)
    whole.run()
    first = trainer(tmp_path / "parts", blended)
    for _ in range(3):
        first.train_step()
    first.save()
    stage = AdapterStage(tiny_parts(), DiffusionConfig(picture_reuse=2), pictures=tiny_pictures())
    with torch.no_grad():  # a stage that goes on need not begin with the same models
        for value in stage.trainable().values():
            value.zero_()
    second = Trainer(stage, blended, tmp_path / "parts")
    second.resume()
    second.run()
    for name, value in whole.averaged_weights().items():
        assert torch.equal(second.averaged_weights()[name], value)


def test_a_blended_run_does_not_go_on_from_a_whole_one(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.train_step()
    first.save()
    with pytest.raises(
        InvalidInputError, match=r"weight_interpolation 0.25 needs .* go on with 1, or begin anew"
    ):
        trainer(tmp_path, CONFIG.replace(weight_interpolation=0.25)).resume()


def test_gradients_that_are_scaled_for_fp16_train_alike(tmp_path: Path) -> None:
    plain, scaled = trainer(tmp_path / "plain"), trainer(tmp_path / "scaled")
    scaled.precision.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(3):
        assert scaled.train_step() == pytest.approx(plain.train_step(), rel=1e-4)
    for name, value in plain.parameters.items():
        torch.testing.assert_close(scaled.parameters[name], value, rtol=1e-3, atol=1e-5)
    scaled.save()
    again = trainer(tmp_path / "scaled")
    again.precision.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    again.resume()
    assert again.precision.scaler.get_scale() == 1024.0


def test_a_step_whose_scaled_gradients_overflow_is_left_out(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.precision.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before = {name: value.detach().clone() for name, value in run.parameters.items()}
    hook = next(iter(run.parameters.values())).register_hook(lambda gradient: gradient * float("inf"))
    run.train_step()
    assert all(torch.equal(value, before[name]) for name, value in run.parameters.items())
    assert run.precision.scaler.get_scale() == 512.0
    hook.remove()
    run.train_step()
    assert not all(torch.equal(value, before[name]) for name, value in run.parameters.items())


def test_fp16_is_refused_where_it_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="needs an accelerator"):
        trainer(tmp_path, CONFIG.replace(mixed_precision="fp16"))
    with pytest.raises(InvalidInputError, match="bf16"):
        trainer(tmp_path, CONFIG.replace(mixed_precision="fp16", sharding="full"))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = trainer(tmp_path)
    for _ in range(2):
        run.train_step()
        run.save()
    newest = list_checkpoints(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    again = trainer(tmp_path)
    with caplog.at_level("WARNING"):
        again.resume()
    assert again.step == 1 and "checkpoint-00000002.pt" in caplog.text
    list_checkpoints(tmp_path)[0].write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="checkpoint-00000001.pt"):
        trainer(tmp_path).resume()


def test_a_full_disk_is_no_traceback_when_losses_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(tmp_path, CONFIG.replace(checkpoint_minutes=0.0))

    def fill(step: int, loss: float) -> None:
        if step == 3:
            monkeypatch.setattr("csv.DictWriter.writerow", full)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"losses\.csv.*No space left.*last checkpoint is intact"):
        run.run(fill)
    monkeypatch.undo()
    again = trainer(tmp_path)
    again.resume()
    assert again.step == 2


def test_another_world_than_before_is_refused(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.train_step()
    first.save()
    stage = AdapterStage(tiny_parts(), DiffusionConfig(), pictures=tiny_pictures(seed=1))
    with pytest.raises(InvalidInputError, match="seed was 0, is 1"):
        Trainer(stage, CONFIG, tmp_path).resume()


def test_a_run_in_another_thread_needs_no_signals(tmp_path: Path) -> None:
    run, done = trainer(tmp_path, CONFIG.replace(steps=1, warmup_steps=0)), []
    thread = threading.Thread(target=lambda: done.append(run.run()))
    thread.start()
    thread.join()
    assert done == [True]


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    save_checkpoint({"stage": "base", "weights": {}, "step": 1, "data": {}}, checkpoint_path(tmp_path, 1))
    with pytest.raises(InvalidInputError, match="base"):
        run.resume()
    run.train_step()
    run.save()
    path = list_checkpoints(tmp_path)[-1]
    state = load_checkpoint(path)
    name = next(name for name, value in state["weights"].items() if value.dim() == 2)
    state["weights"][name] = state["weights"][name][:1]
    save_checkpoint(state, path)
    with pytest.raises(InvalidInputError, match="shape"):
        run.resume()


def test_other_data_than_before_is_refused(tmp_path: Path) -> None:
    class Told:
        batch_size = 4

        def __init__(self, records: str) -> None:
            self.records, self.source = records, tiny_pictures(4)

        def batch(self, step: int, rows: slice):
            return self.source.batch(step, rows)

        def fingerprint(self) -> dict[str, str]:
            return {"records": self.records}

    def told(records: str) -> Trainer:
        stage = AdapterStage(tiny_parts(), DiffusionConfig(), pictures=Told(records))
        return Trainer(stage, CONFIG, tmp_path)

    first = told("five")
    first.train_step()
    first.save()
    told("five").resume()
    with pytest.raises(InvalidInputError, match="records was five, is six"):
        told("six").resume()


def test_a_stage_that_its_data_cannot_teach_is_refused(tmp_path: Path) -> None:
    silent = AdapterStage(
        tiny_parts(),
        DiffusionConfig(),
        pictures=tiny_pictures(references="none", cross_reference_ratio=0.0),
    )
    with pytest.raises(InvalidInputError, match="references"):
        Trainer(silent, CONFIG, tmp_path).train_step()


def test_a_batch_that_cannot_be_shared_is_refused_at_once(tmp_path: Path) -> None:
    stage = JointStage(
        tiny_parts(), DiffusionConfig(clip_ratio=0.5), pictures=tiny_pictures(4), clips=tiny_clips(3)
    )
    with pytest.raises(InvalidInputError, match="batch of 3"):
        Trainer(stage, CONFIG.replace(accumulation=2), tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("warmup_steps", -1), ("learning_rate", 0.0), ("ema_decay", 1.0), ("weight_interpolation", 0.0),
     ("weight_interpolation", 1.5), ("accumulation", 0),
     ("keep_checkpoints", 0), ("gradient_clip", 0.0), ("log_every", 0), ("sample_every", -1)],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=name):
        CONFIG.replace(**{name: value})


def test_learning_rate_warms_up_and_falls() -> None:
    config = TrainConfig(steps=100, learning_rate=1.0, warmup_steps=10, final_lr_ratio=0.1)
    assert learning_rate_factor(0, config) == pytest.approx(0.1)
    assert learning_rate_factor(10, config) == pytest.approx(1.0)
    assert learning_rate_factor(55, config) == pytest.approx(0.55)
    assert learning_rate_factor(100, config) == pytest.approx(0.1)


def test_where_losses_are_read_at_reports_only_the_numbers_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on accelerators, which would stand still at every number that is read."""
    config = CONFIG.replace(log_every=3)
    trainer(tmp_path / "cpu", config).run()
    shown: list[float] = []
    monkeypatch.setattr(Trainer, "_waits", False)
    trainer(tmp_path / "other", config).run(lambda step, loss: shown.append(loss))
    same_state(tmp_path / "cpu", tmp_path / "other")
    assert losses(tmp_path / "cpu") == losses(tmp_path / "other")
    assert shown[0] == shown[1] and shown[2] == shown[3] == shown[4]
    assert len(set(shown)) == 3 and shown[0] == shown[0]


@pytest.mark.parametrize("seed", [20260101120000, 2**63 - 1, 2**70, -5])
def test_every_seed_trains(tmp_path: Path, seed: int) -> None:
    run = trainer(tmp_path, CONFIG.replace(seed=seed))
    assert run.train_step() > 0


@pytest.mark.parametrize("waits", [True, False])
def test_weights_of_an_infinite_loss_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(Trainer, "_waits", waits)
    run = trainer(tmp_path, CONFIG.replace(log_every=4, checkpoint_minutes=0))
    spoiled = run.stage.loss

    def loss(step: int, *rest: object) -> torch.Tensor:
        return spoiled(step, *rest) * (float("nan") if step == 2 else 1)

    monkeypatch.setattr(run.stage, "loss", loss)
    with pytest.raises(
        DivergedError, match=r"loss is nan at step.*stages\.adapter\.train\.learning_rate=0\.0005"
    ):
        run.run()
    assert load_checkpoint(list_checkpoints(tmp_path)[-1])["step"] == 2
