"""Gradient descent with a rate of its own for each parameter."""

import torch
from torch import Tensor


class Adam:
    """Adaptive gradient descent for real and complex parameters, real and imaginary part apart.

    torch's own class loads the compiler of torch on first use, which takes seconds.

    Kingma and Ba 2015, arXiv:1412.6980; with the constants given there.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.n_steps = 0
        self.means = [torch.zeros_like(_as_real(parameter)) for parameter in parameters]
        self.squares = [torch.zeros_like(_as_real(parameter)) for parameter in parameters]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...], learning_rate: float) -> None:
        """Move the parameters, in place, against their gradients."""
        self.n_steps += 1
        rate = learning_rate / (1 - 0.9**self.n_steps)
        for parameter, gradient, mean, square in zip(
            self.parameters, map(_as_real, gradients), self.means, self.squares, strict=True
        ):
            mean.lerp_(gradient, 1 - 0.9)
            square.lerp_(gradient.square(), 1 - 0.999)
            size = (square / (1 - 0.999**self.n_steps)).sqrt() + 1e-8
            _as_real(parameter).sub_(rate * mean / size)


def _as_real(values: Tensor) -> Tensor:
    return torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
