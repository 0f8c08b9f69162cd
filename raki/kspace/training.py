"""Train the nonlinear branch on the ACS of one slice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.kspace.adam import Adam
from raki.kspace.linear_fit import LinearFit, noise_ratio
from raki.kspace.method import TrainingPoint
from raki.kspace.network import RakiNetwork
from raki.kspace.patches import Examples, Kernel, Predict, Targets, gap_sources, magnitude
from raki.kspace.sampling import Sampling
from raki.scan.fourier import SliceKSpace

HeldOutError = Callable[[Predict], float]

# Chosen small; on measured scans other widths came out the same (benchmarks/README.md).
N_COMPONENTS = 96
N_HIDDEN = 64
N_STEPS = 24
STEPS_PER_POINT = 8
ROWS_PER_STEP = 256
LEARNING_RATE = 3e-3
N_NOISE_LEVELS = 8
# The branch stays only if it lowers the held-out error of the linear part by this part of it. On measured scans it
# was never better by as much, and where it was kept for less the whole image got worse (benchmarks/README.md).
LEAST_GAIN = 0.2


@dataclass(frozen=True, kw_only=True)
class NormalisedExamples:
    """Calibration rows divided by their magnitude, as components of a fit, free of added noise."""

    components: Complex64[Tensor, "row component"]
    targets: Complex64[Tensor, "row target"]
    weights: Float32[Tensor, " row"]
    """How much a row counts: bright rows about fully, rows of noise hardly."""

    @classmethod
    def of(cls, examples: Examples, fit: LinearFit) -> "NormalisedExamples":
        """The rows of examples, in the basis of `fit`."""
        sources, targets = examples.flat().sources, examples.flat().targets
        size = magnitude(sources)
        relative = 1 / size.unsqueeze(-1)
        return cls(
            components=(sources * relative) @ fit.basis,
            targets=targets * relative,
            weights=(size / (size + size.mean())).square(),
        )

    def at(self, rows: Tensor) -> "NormalisedExamples":
        """The examples at these rows."""
        return NormalisedExamples(
            components=self.components[rows], targets=self.targets[rows], weights=self.weights[rows]
        )


def try_branch(
    fit: LinearFit, examples: Examples, levels: Float32[Tensor, " level"], seed: int, error: HeldOutError
) -> tuple[int, tuple[TrainingPoint, ...]]:
    """Train a branch on top of `fit` and see for how many steps the held-out `error` falls.

    Returns the steps that held-out lines approve of, 0 where the linear part is better alone, and the training curve.

    Args:
        fit: of the same slice, calibrated without the held-out lines.
        examples: from the ACS without the held-out lines.
        levels: noise-to-signal ratios at which to predict.
        seed: of start, batches and added noise.
        error: energy of a prediction's error on the held-out lines over their own.
    """
    network = new_network(fit, seed)
    curve = tuple(
        TrainingPoint(step=step, training_loss=training_loss, validation_loss=error(network.predict))
        for step, training_loss in train(network, NormalisedExamples.of(examples, fit), levels, seed, N_STEPS)
    )
    best = min(curve, key=lambda point: point.validation_loss)
    worth_it = best.validation_loss < (1 - LEAST_GAIN) * min(curve[0].validation_loss, 1.0)
    return best.step if worth_it else 0, curve


def trained_network(
    fit: LinearFit, examples: Examples, levels: Float32[Tensor, " level"], seed: int, n_steps: int
) -> RakiNetwork:
    """`fit` with a branch trained for `n_steps` on all examples of the ACS."""
    network = new_network(fit, seed)
    for _ in train(network, NormalisedExamples.of(examples, fit), levels, seed, n_steps):
        pass
    return network


def new_network(fit: LinearFit, seed: int) -> RakiNetwork:
    """`fit` with an untrained branch, which adds nothing."""
    generator = torch.Generator().manual_seed(seed)
    return RakiNetwork(fit, n_components=N_COMPONENTS, n_hidden=N_HIDDEN, generator=generator)


def noise_levels(kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, sigma: float) -> Float32[Tensor, " level"]:
    """Noise-to-signal ratios of the gaps outside the ACS: levels that stand for equal parts of their energy."""
    first, stop = sampling.acs_lines or (0, 0)
    sizes = torch.cat(
        [
            magnitude(sources)[[not first <= line <= stop - sampling.acceleration for line in lines]].flatten()
            for lines, sources in gap_sources(kspace, sampling, kernel)
        ]
    )
    sizes = sizes.sort().values
    energy = sizes.square().cumsum(0)
    middles = (torch.arange(N_NOISE_LEVELS, device=energy.device) + 0.5) / N_NOISE_LEVELS
    return noise_ratio(sizes[torch.searchsorted(energy, middles * energy[-1]).clamp(max=len(sizes) - 1)], sigma)


def train(
    network: RakiNetwork,
    training: NormalisedExamples,
    ratios: Float32[Tensor, " level"],
    seed: int,
    n_steps: int,
) -> Iterator[tuple[int, float]]:
    """Fit the branch to what the linear part leaves, at the noise that the rest of k-space has.

    Yields the step and the mean training loss since the last yield, every STEPS_PER_POINT steps and first
    of all at step 0, so that the caller may look at the network as it goes.
    """
    generator = torch.Generator().manual_seed(seed)
    adam = Adam(list(network.branch.parameters()))
    losses: list[Tensor] = []
    yield 0, evaluate(network, training, ratios, generator)
    for step in range(1, n_steps + 1):
        rows = torch.randint(len(training.weights), (ROWS_PER_STEP,), generator=generator)
        batch = training.at(rows.to(training.weights.device))
        loss = _loss(network, batch, _draw(ratios, ROWS_PER_STEP, generator), generator)
        adam.step(torch.autograd.grad(loss, adam.parameters), LEARNING_RATE)
        losses.append(loss.detach())
        if step % STEPS_PER_POINT == 0:
            yield step, float(torch.stack(losses).mean())
            losses.clear()


@torch.no_grad()
def evaluate(
    network: RakiNetwork, examples: NormalisedExamples, ratios: Float32[Tensor, " level"], generator: torch.Generator
) -> float:
    """Loss over all examples, noise drawn once: energy of the error over energy of the targets."""
    return float(_loss(network, examples, _draw(ratios, len(examples.weights), generator), generator))


def _draw(ratios: Tensor, n_rows: int, generator: torch.Generator) -> Tensor:
    return ratios[torch.randint(len(ratios), (n_rows,), generator=generator).to(ratios.device)]


def _loss(network: RakiNetwork, examples: NormalisedExamples, ratio: Tensor, generator: torch.Generator) -> Tensor:
    # Drawn in the basis, where white noise is white too: so the order of the coils changes nothing.
    noise = torch.randn(examples.components.shape, dtype=torch.complex64, generator=generator)
    components = examples.components + ratio.unsqueeze(-1) * noise.to(ratio.device)
    linear, correction = network(components, ratio)
    return _relative_error(linear + correction, examples)


def _relative_error(predicted: Targets, examples: NormalisedExamples) -> Tensor:
    """Weighted energy of the error over that of the targets."""
    error = (predicted - examples.targets).abs().square().sum(dim=1)
    energy = examples.targets.abs().square().sum(dim=1)
    tiny = torch.finfo(torch.float32).tiny  # an empty slice has no error, relative to nothing
    return (examples.weights * error).sum() / (examples.weights * energy).sum().clamp(min=tiny)
