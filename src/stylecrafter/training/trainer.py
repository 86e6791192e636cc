"""The loop: compute a loss, take a step, keep an average, save in time.

Everything random in a step is a function of the seed and the step. A run that was stopped and resumed therefore
computes the same numbers as one that never stopped, and several processes compute what one process would.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from stylecrafter.data.reporting import Described, Fingerprint, refuse_changes
from stylecrafter.errors import CheckpointError, DivergedError, InvalidInputError
from stylecrafter.runtime.seeding import step_seed
from stylecrafter.training.batch_shares import Shard
from stylecrafter.training.checkpoint import (
    checkpoint_path,
    keep_last,
    list_checkpoints,
    newest_readable,
    refuse_foreign,
    save_checkpoint,
    save_intervals,
)
from stylecrafter.training.ema import StageEMA
from stylecrafter.training.graphs import CapturedSteps, StageInputs
from stylecrafter.training.interruption import Interruption
from stylecrafter.training.meters import Meters
from stylecrafter.training.precision import MasterWeights, MixedPrecision
from stylecrafter.training.processes import (
    StageLoss,
    attention_for_training,
    checkpoint_gradients,
    make_accelerator,
    placed_like,
    placed_moments,
    shard_weights,
    whole,
)
from stylecrafter.training.stages import DiffusionStage, Stage
from stylecrafter.training.tracking import begun, forget_after, log_picture, make_trackers, written
from stylecrafter.training.train_config import TrainConfig, learning_rate_factor

logger = logging.getLogger(__name__)


#: Called with a step, and with whole weights where the models hold only parts of them; gives a sample sheet.
OnSample = Callable[[int, dict[str, torch.Tensor] | None], Image.Image | None]


class Trainer:
    """Trains one stage, with AdamW, gradient clipping and an EMA of the weights.

    Runs in one process, or in as many as `torchrun` or `accelerate launch` start; all of them together take one
    batch per step.

    Args:
        stage: What to train.
        config: How.
        folder: Where checkpoints and `losses.csv` go.
        trackers: Where numbers and pictures go beside `losses.csv` (`tracking.TRACKERS`).
        label: What messages call the stage; default: its name.
        on_sample: Called every `sample_every` steps in the main process with the step, and with the averaged weights in
            the models. Where these are in parts, the weights come as the second argument, which is None otherwise.

    Raises:
        InvalidInputError: The stage trains nothing, its batches cannot be shared by the processes, or fp16 on a CPU.
    """

    def __init__(
        self,
        stage: Stage,
        config: TrainConfig,
        folder: Path,
        *,
        trackers: Sequence[str] = (),
        label: str | None = None,
        on_sample: OnSample | None = None,
    ) -> None:
        self.label = stage.name if label is None else label
        self.stage, self.config, self.folder, self.on_sample = stage, config, folder, on_sample
        if not stage.trainable():
            raise InvalidInputError(f"stage {stage.name} trains nothing")
        device = next(iter(stage.trainable().values())).device
        self.precision = MixedPrecision(config.mixed_precision, device.type)
        self.accelerator = make_accelerator(device, folder, make_trackers(trackers, folder))
        for source in stage.sources().values():
            self.shard(0).rows(source.batch_size)
        if config.gradient_checkpointing:
            checkpoint_gradients(stage)
        self.model: nn.Module = StageLoss(stage)
        self._in_parts = config.sharding == "full" and self.accelerator.num_processes > 1
        if self._in_parts:
            shard_weights(self.model)
        else:
            self.model = self.accelerator.prepare_model(self.model)
        # Sharding puts other tensors in the place of the models' own.
        self.parameters = stage.trainable()
        self._captured: CapturedSteps | None = None
        if (
            config.cuda_graphs
            and device.type == "cuda"
            and self._is_alone
            and not config.gradient_checkpointing
        ):
            self._captured = CapturedSteps(self._compute, list(self.parameters.values()))
        self._masters: MasterWeights | None = None
        if config.bf16_compute:
            if not isinstance(stage, DiffusionStage):
                raise InvalidInputError(f"bf16_compute is for denoising stages, not for {stage.name!r}")
            if self.accelerator.num_processes > 1:
                raise InvalidInputError("bf16_compute is for one process; leave it out, or start one")
            self._masters = MasterWeights(stage.denoisers().values(), self.parameters)
            self.parameters = self._masters.masters
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=config.sharding == "none",
        )
        self.ema = StageEMA(self.parameters, config)
        self.step, self._first = 0, 1
        self._meters = Meters()
        self._interruption = Interruption()

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that asked the last `run` to end, be it in its last step; SIGTERM where another process got it."""
        return self._interruption.signal

    @property
    def _is_alone(self) -> bool:
        """Whether a step is one pass of one process, without anything to scale or to wait for."""
        accelerator = self.accelerator
        return accelerator.num_processes == self.config.accumulation == 1 and self.precision.scaler is None

    def shard(self, part: int) -> Shard:
        """The share of this process in part `part` of an accumulated step."""
        processes = self.accelerator.num_processes
        return Shard(part * processes + self.accelerator.process_index, processes * self.config.accumulation)

    def save(self) -> None:
        """Write everything that `resume` needs, and delete all but the newest checkpoints."""
        state = {
            "stage": self.stage.name,
            "step": self.step,
            "data": self._fingerprints(),
            "weights": {name: whole(value) for name, value in self.parameters.items()},
            **self.ema.state_dict(),
            "moments": {
                name: {key: whole(value) for key, value in self.optimizer.state[parameter].items()}
                for name, parameter in self.parameters.items()
            },
            "scaler": self.precision.state_dict(),
            # Of the steps since the last report, so that the next one says what it would without a stop between.
            "losses": self._meters.means(self.accelerator).cpu(),
        }
        if self.accelerator.is_main_process:
            save_checkpoint(state, checkpoint_path(self.folder, self.step))
            keep_last(self.folder, self.config.keep_checkpoints, self.step)
        self.accelerator.wait_for_everyone()

    def resume(self) -> None:
        """Go on from the newest readable checkpoint in the folder; without one, forget what was reported before.

        Nothing is changed on the disk where it is refused.

        Raises:
            CheckpointError: No checkpoint can be read.
            InvalidInputError: It belongs to another stage, to other sizes, to other data, or to a later step than the
                last one that is to be done.
        """
        found = list_checkpoints(self.folder)
        if found:
            self._restore(*newest_readable(found))
            logger.info("%s: going on at step %d", self.label, self.step)
        self._first = self.step + 1
        if self.accelerator.is_main_process:  # all processes would write the same file
            forget_after(self.folder, self.step)
            keep_last(self.folder, self.config.keep_checkpoints, self.step)
        # Nobody looks for checkpoints any more.
        self.accelerator.wait_for_everyone()

    def _restore(self, path: Path, state: dict[str, Any]) -> None:
        """Put a checkpoint into models and optimiser."""
        refuse_foreign(path, state, self.stage.name, self.parameters.keys())
        if state["step"] > self.config.steps:
            raise InvalidInputError(
                f"{path} is beyond the {self.config.steps} steps asked for: to end where it is, "
                f"--set stages.{self.label}.train.steps={state['step']}; for fewer, choose another folder"
            )
        for name, now in self._fingerprints().items():
            if name in state["data"]:
                refuse_changes(state["data"][name], now)
        with torch.no_grad():
            for name, value in self.parameters.items():
                if state["weights"][name].shape != value.shape:
                    raise CheckpointError(
                        f"{path}: {name} has shape {tuple(state['weights'][name].shape)}, "
                        f"the model {tuple(value.shape)}"
                    )
                value.copy_(placed_like(state["weights"][name], value))
                # Moments come from the checkpoint; rates and the rest are this run's.
                self.optimizer.state[value] = placed_moments(
                    state["moments"][name], value, self.optimizer.param_groups[0]
                )
        self.ema.load_state_dict(state, state["step"])
        if self._masters is not None:
            self._masters.cast_again()
        self.precision.load_state_dict(state.get("scaler", {}))
        self.step = state["step"]
        if "losses" in state:  # older checkpoints have none
            self._meters = Meters(list(state["losses"].to(self.accelerator.device)))

    def _fingerprints(self) -> dict[str, Fingerprint]:
        """What decides the batches of the sources that can tell."""
        sources = self.stage.sources().items()
        return {name: source.fingerprint() for name, source in sources if isinstance(source, Described)}

    def train_step(self) -> float:
        """One optimiser step; returns the mean loss over this process's share."""
        loss, _ = self._train_step()
        return float(loss)

    @property
    def _waits(self) -> bool:
        """Whether numbers are read after every step: an accelerator would stand still until the next one begins."""
        return self.accelerator.device.type == "cpu"

    def _refuse_infinite(self, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            raise DivergedError(
                f"{self.label}: the loss is {loss.item()} at step {self.step}; the last checkpoint is intact. Go on "
                "from it with smaller steps: --resume --set "
                f"stages.{self.label}.train.learning_rate={self.config.learning_rate / 2:g}"
            )

    def _train_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_factor(self.step, self.config)
        if self._captured is None:
            self.optimizer.zero_grad(set_to_none=True)
            if self._masters is not None:
                self._masters.forget_gradients()
        parts, losses = self.config.accumulation, []
        for part in range(parts):
            shard = self.shard(part)
            # Dropout, where a model has it, is a function of the step too.
            torch.manual_seed((step_seed(self.config.seed, self.step) * 1009 + shard.index) % 2**63)
            last = part == parts - 1
            waiting = contextlib.nullcontext() if last else self.accelerator.no_sync(self.model)
            with waiting, attention_for_training(self.accelerator.device.type):
                losses.append(self._gradients(shard, parts))
        norm = self.precision.step(self.optimizer, list(self.parameters.values()), self.config.gradient_clip)
        if self._masters is not None:
            self._masters.cast_again()
        self.ema.update()
        self.step += 1
        return torch.stack(losses).sum(), norm

    def _compute(self, inputs: StageInputs) -> torch.Tensor:
        """The loss of inputs, in the precision of the run; nothing is kept between the uses of a weight."""
        with self.precision.autocast(enabled=self._masters is None, cache_enabled=False):
            loss = self.stage.compute(inputs)
        self._refuse_unreachable(loss)
        return loss

    def _backward(self, loss: torch.Tensor) -> None:
        if self._waits:
            self._refuse_infinite(loss)
        self.precision.backward(loss)

    def _gradients(self, shard: Shard, parts: int) -> torch.Tensor:
        """The loss of a shard, with its gradients in the parameters."""
        if self._captured is None and self._masters is None:
            with self.precision.autocast():
                loss = self.model(self.step, shard) / parts
            self._refuse_unreachable(loss)
            self._backward(loss)
            return loss.detach()
        with self.precision.autocast():
            inputs = self.stage.inputs(self.step, shard)
        if self._captured is not None:
            loss = self._captured(inputs)
        else:
            loss = self._compute(inputs) / parts
            self._backward(loss)
        if self._masters is not None:
            self._masters.hand_on_gradients()
        return loss.detach()

    def _refuse_unreachable(self, loss: torch.Tensor) -> None:
        if not loss.requires_grad:
            raise InvalidInputError(
                f"step {self.step} of stage {self.label} reaches nothing that trains: an adapter learns "
                "from style references only; give its pictures or clips references, or leave the clips out"
            )

    def run(self, on_step: Callable[[int, float], None] | None = None) -> bool:
        """Train to the last step, save on the way, and leave the averaged weights in the models.

        SIGTERM, SIGINT and SIGHUP end the run after the current step, with a checkpoint.

        Args:
            on_step: Called after every step with its number (from 1) and this process's loss; on accelerators, which
                are not waited for, with that of the first step, then of every `log_every`-th.

        Returns:
            Whether the last step was reached.
        """
        saved, shown, meters = time.monotonic(), math.nan, self._meters
        intervals = save_intervals(self.config.checkpoint_minutes)
        interval = next(intervals)
        meters.begin()
        asked = self._interruption = Interruption()
        with asked.listening():
            while self.step < self.config.steps:
                loss, meters.gradient_norm = self._train_step()
                meters.losses.append(loss)
                if self._waits or math.isnan(shown) or self.step % self.config.log_every == 0:
                    shown = float(loss)
                if on_step is not None:
                    on_step(self.step, shown)
                last = self.step == self.config.steps
                if last or self.step % self.config.log_every == 0:
                    self._report(meters)
                    meters = self._meters = Meters()
                if self.config.sample_every and (last or self.step % self.config.sample_every == 0):
                    self._draw_samples()
                due = time.monotonic() - saved > interval
                stop, save = self._agree(asked.signal is not None, due)
                if stop or save or last:
                    for value in meters.losses:
                        self._refuse_infinite(value)
                    self.save()
                    saved, interval = time.monotonic(), next(intervals)
                if stop and not last:
                    logger.info("%s: stopped at step %d, checkpoint saved", self.label, self.step)
                    break
            # Once more: a signal may have come with the last checkpoint, and what comes next is all processes' matter.
            (stop,) = self._agree(asked.signal is not None)
        if stop and asked.signal is None:
            asked.signal = signal.SIGTERM
        if self.step < self.config.steps:
            return False
        if self._masters is not None:
            self._masters.restore()
        self._set_average()
        return True

    def close(self) -> None:
        """End the reports."""
        with written(self.folder):
            for tracker in self.accelerator.trackers:
                tracker.finish()

    @torch.no_grad()
    def _set_average(self) -> None:
        for name, value in self.ema.weights().items():
            self.parameters[name].copy_(value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the models for a while."""
        own = {name: value.detach().clone() for name, value in self.parameters.items()}
        with contextlib.nullcontext() if self._masters is None else self._masters.in_full():
            self._set_average()
            try:
                yield
            finally:
                with torch.no_grad():
                    for name, value in self.parameters.items():
                        value.copy_(own[name])

    def averaged_weights(self) -> dict[str, torch.Tensor]:
        """Name -> what the stage leaves (`StageEMA`), whole and on the CPU, whatever the sharding."""
        return {name: whole(value) for name, value in self.ema.weights().items()}

    def _draw_samples(self) -> None:
        if self.on_sample is None:
            return
        weights = self.averaged_weights() if self._in_parts else None
        with contextlib.nullcontext() if self._in_parts else self.averaged():
            if self.accelerator.is_main_process:
                sheet = self.on_sample(self.step, weights)
                if sheet is not None:
                    with written(self.folder):
                        log_picture(begun(self.accelerator, self._first), "samples", sheet, self.step)
        self.accelerator.wait_for_everyone()

    def _report(self, meters: Meters) -> None:
        reduced = self.accelerator.reduce(torch.stack(meters.losses).mean(), reduction="mean")
        self._refuse_infinite(reduced)  # behind the exchange: all processes stop, and none waits for another
        mean = reduced.item()
        if not self.accelerator.is_main_process:
            return
        speed = meters.steps_per_second()
        left = (self.config.steps - self.step) / speed
        logger.info(
            "%s: step %d of %d, loss %.4f, %.2f steps/s, %s left",
            self.label, self.step, self.config.steps, mean, speed, timedelta(seconds=round(left)),
        )  # fmt: skip
        rate = self.config.learning_rate * learning_rate_factor(self.step - 1, self.config)
        values = {
            "loss": mean,
            "learning_rate": rate,
            "gradient_norm": float(meters.gradient_norm),
            "steps_per_second": speed,
        }
        with written(self.folder):
            begun(self.accelerator, self._first).log(values, step=self.step)

    def _agree(self, *wishes: bool) -> tuple[bool, ...]:
        """What any process wishes, all do."""
        if self.accelerator.num_processes == 1:
            return wishes
        wanted = torch.tensor([float(wish) for wish in wishes], device=self.accelerator.device)
        return tuple((self.accelerator.reduce(wanted, reduction="sum") > 0).tolist())
