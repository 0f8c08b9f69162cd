"""Gradient descent with a rate of its own for each parameter."""

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """torch's Adam by its function, for real and complex parameters; its class loads torch's compiler, for seconds.

    Kingma and Ba 2015, arXiv:1412.6980; with the constants given there.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = [torch.zeros(()) for _ in parameters]

    @property
    def n_steps(self) -> int:
        """Steps made so far."""
        return int(self._steps[0])

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...], learning_rate: float) -> None:
        """Move the parameters, in place, against their gradients."""
        adam(
            self.parameters,
            list(gradients),
            self._means,
            self._squares,
            [],
            self._steps,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
