"""Gradient descent as the published networks are trained: Adam, all examples in each step, a set number of steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Inexact
from torch import Tensor

from raki.kspace.adam import Adam
from raki.kspace.method import TrainingPoint

STEPS_PER_POINT = 10


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train, and how fast."""

    n_steps: int
    learning_rate: float


def descend(
    adam: Adam, objective: Callable[[], tuple[Tensor, Tensor]], targets: Tensor, schedule: Schedule
) -> tuple[TrainingPoint, ...]:
    """Lower an objective; returns a point for every tenth step and the last, each as that step found the network.

    The training loss of a point is the energy of the error over that of the targets. The papers hold nothing out,
    so there is no validation loss: it is NaN.

    Args:
        objective: gives the loss to lower, and the error of what is predicted, shaped as `targets`.
    """
    found: list[tuple[int, Tensor]] = []
    for step in range(1, schedule.n_steps + 1):
        loss, error = objective()
        adam.step(torch.autograd.grad(loss, adam.parameters), schedule.learning_rate)
        if step % STEPS_PER_POINT == 0 or step == schedule.n_steps:
            found.append((adam.n_steps, _energy(error.detach())))
    energy = _energy(targets).clamp(min=torch.finfo(torch.float32).tiny)
    # Fetched together at the end: each fetch would wait for the device.
    losses = (torch.stack([left for _, left in found]) / energy).tolist()
    return tuple(
        TrainingPoint(step=step, training_loss=loss, validation_loss=math.nan)
        for (step, _), loss in zip(found, losses, strict=True)
    )


def _energy(values: Tensor) -> Tensor:
    return values.abs().square().sum()


def scale_to_peak(kspace: Inexact[Tensor, "*any"], peak: float) -> float:
    """What brings the largest magnitude to `peak`; 1 where all is zero.

    Where neither a bias nor a nonlinearity other than (leaky) ReLU is in the network, the scale cancels out of it;
    it also cancels out of Adam, but for the constant that keeps it from dividing by zero.
    """
    largest = float(kspace.abs().max())
    return peak / largest if largest > 0 else 1.0
