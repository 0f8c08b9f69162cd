"""Gradient descent with a rate of its own for each parameter."""

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """torch's Adam by its function, for real and complex parameters; its class loads torch's compiler, for seconds.

    A step is one operation on the device, and waits for nothing there. A complex parameter is trained as its two parts.

    Kingma and Ba 2015, arXiv:1412.6980; with the constants given there.
    """

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.n_steps = 0
        self._trained = [_as_real(parameter.detach()) for parameter in parameters]
        self._means = [torch.zeros_like(parameter) for parameter in self._trained]
        self._squares = [torch.zeros_like(parameter) for parameter in self._trained]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self._trained]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...], learning_rate: float) -> None:
        """Move the parameters, in place, against their gradients."""
        self.n_steps += 1
        adam(
            self._trained,
            [_as_real(gradient) for gradient in gradients],
            self._means,
            self._squares,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def _as_real(values: Tensor) -> Tensor:
    return torch.view_as_real(values) if values.is_complex() else values
