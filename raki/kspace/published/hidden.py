"""The two hidden layers of the published networks: far larger than what goes in and out, so their memory is kept."""

from typing import Any

import torch
from jaxtyping import Inexact
from torch import Tensor


class HiddenLayers:
    """Two linear maps at every place, a leaky ReLU after each, on real and imaginary part apart; without bias.

    The memory of the layers and of their gradients is used again in every step: each page that is asked of the system
    anew is first set to zero, which took up to a quarter of a step. So what a call returns holds until the next one,
    and a gradient is that of the last call.
    """

    def __init__(self, slope: float) -> None:
        """`slope` is that of the leaky ReLU below zero, not negative; 0 makes it a ReLU."""
        self._slope = slope
        self._kept: dict[str, Tensor] = {}

    def __call__(
        self,
        first: Inexact[Tensor, "*network hidden feature"],
        second: Inexact[Tensor, "*network out hidden"],
        sources: Inexact[Tensor, "feature line ro"],
    ) -> Inexact[Tensor, "*network out line ro"]:
        """The second layer of every network. All read the same sources, so the first is one product for all."""
        return _Layers.apply(first, second, sources.flatten(1), self).unflatten(-1, sources.shape[1:])

    def product(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """`left @ right`, in the memory of that name."""
        shape = (*left.shape[:-1], right.shape[-1])
        if name not in self._kept or self._kept[name].shape != shape:
            self._kept[name] = left.new_empty(shape)
        return torch.matmul(left, right, out=self._kept[name])

    def activate(self, layer: Tensor) -> None:
        """Leaky ReLU in place."""
        torch.nn.functional.leaky_relu_(_as_real(layer), self._slope)

    def pass_back(self, gradient: Tensor, layer: Tensor) -> Tensor:
        """The gradient before the leaky ReLU, in place of the one after it; `layer` is what the ReLU made."""
        at = _as_real(gradient)
        torch.ops.aten.leaky_relu_backward.grad_input(at, _as_real(layer), self._slope, True, grad_input=at)
        return gradient


class _Layers(torch.autograd.Function):
    """The layers and their gradients, as autograd would find them but in memory that is kept."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, sources: Tensor, layers: HiddenLayers) -> Tensor:
        hidden = layers.product("first", first.flatten(0, -2), sources).unflatten(0, first.shape[:-1])
        layers.activate(hidden)
        out = layers.product("second", second, hidden)
        layers.activate(out)
        ctx.save_for_backward(second, sources)
        ctx.layers, ctx.hidden, ctx.out = layers, hidden, out
        return out.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        second, sources = ctx.saved_tensors
        at_out = ctx.layers.pass_back(gradients[0].clone(), ctx.out)
        at_hidden = ctx.layers.pass_back(ctx.layers.product("gradient", second.mH, at_out), ctx.hidden)
        of_first = (at_hidden.flatten(0, -2) @ sources.mH).unflatten(0, at_hidden.shape[:-1])
        return of_first, at_out @ ctx.hidden.mH, None, None


def _as_real(values: Tensor) -> Tensor:
    return torch.view_as_real(values) if values.is_complex() else values
