"""Train the nonlinear branch on the ACS of one slice."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.grappa import Calibration, LinearFit, Targets, calibrate, magnitude
from raki.network import RakiNetwork
from raki.selection import Choice, choose, split

N_COMPONENTS = 96
N_HIDDEN = 64
N_STEPS = 120
STEPS_PER_POINT = 10
ROWS_PER_STEP = 512
LEARNING_RATE = 3e-3
# The branch stays only if it lowers the held-out error by this part: less is chance.
LEAST_GAIN = 0.01


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """One point of the training curve; losses are relative to the energy of the targets, dimensionless."""

    step: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Calibration rows divided by their magnitude, as components of a fit, free of added noise."""

    components: Complex64[Tensor, "row component"]
    targets: Complex64[Tensor, "row target"]
    weights: Float32[Tensor, " row"]
    """How much a row counts: bright rows about fully, rows of noise hardly."""

    @classmethod
    def of(cls, calibration: Calibration, fit: LinearFit) -> "Examples":
        """The rows of a calibration, in the basis of `fit`."""
        sources, targets = calibration.sources.flatten(0, 1), calibration.targets.flatten(0, 1)
        size = magnitude(sources)
        relative = 1 / size.unsqueeze(-1)
        return cls(
            components=(sources * relative) @ fit.basis,
            targets=targets * relative,
            weights=(size / (size + size.mean())).square(),
        )

    def at(self, rows: Tensor) -> "Examples":
        """The examples at these rows."""
        return Examples(components=self.components[rows], targets=self.targets[rows], weights=self.weights[rows])


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What calibration and training found for one slice."""

    network: RakiNetwork
    choice: Choice
    curve: tuple[TrainingPoint, ...]
    kept_steps: int
    """Training steps of the nonlinear branch that held-out ACS approved of; 0: the linear fit alone."""

    @property
    def expected_error(self) -> float:
        """Energy of the error over that of the missing samples, as expected from held-out ACS."""
        gain = next(point.validation_loss for point in self.curve if point.step == self.kept_steps)
        start = self.curve[0].validation_loss
        return self.choice.expected_error * gain / start if start > 0 else 0.0


def fit_network(
    examples: Calibration,
    ratios: Float32[Tensor, " level"],
    sigma: float,
    seed: int,
) -> Fitted:
    """Solve the linear part, then train the nonlinear branch for as long as held-out ACS gains from it.

    The number of steps is found with the outermost ACS lines held out; the network that is returned
    has seen the whole ACS, for as many steps.

    Args:
        examples: all examples that the ACS of the slice gives.
        ratios: noise-to-signal ratios at which to predict.
        sigma: standard deviation of the noise, in units of the examples.
        seed: of start, batches and added noise.
    """
    choice = choose(examples, ratios, sigma)
    fitted, held_out = split(examples)
    trial, training = _start(fitted, choice, sigma, seed)
    validation = Examples.of(held_out, trial.fit)
    curve = tuple(
        TrainingPoint(
            step=step,
            training_loss=training_loss,
            # The same noise at every point, or the curve would shake with it.
            validation_loss=evaluate(trial, validation, ratios, torch.Generator().manual_seed(seed)),
        )
        for step, training_loss in train(trial, training, ratios, torch.Generator().manual_seed(seed), N_STEPS)
    )
    best = min(curve, key=lambda point: point.validation_loss)
    worth_it = best.validation_loss < (1 - LEAST_GAIN) * curve[0].validation_loss
    kept_steps = best.step if worth_it else 0
    network, training = _start(examples, choice, sigma, seed)
    for _ in train(network, training, ratios, torch.Generator().manual_seed(seed), kept_steps):
        pass
    return Fitted(network=network, choice=choice, curve=curve, kept_steps=kept_steps)


def _start(examples: Calibration, choice: Choice, sigma: float, seed: int) -> tuple[RakiNetwork, Examples]:
    fit = calibrate(examples, ridge=choice.ridge, shrinkage=choice.shrinkage, sigma=sigma)
    generator = torch.Generator().manual_seed(seed)
    network = RakiNetwork(fit, n_components=N_COMPONENTS, n_hidden=N_HIDDEN, generator=generator)
    return network, Examples.of(examples, fit)


def train(
    network: RakiNetwork,
    training: Examples,
    ratios: Float32[Tensor, " level"],
    generator: torch.Generator,
    n_steps: int,
) -> Iterator[tuple[int, float]]:
    """Fit the branch to what the linear part leaves, at the noise that the rest of k-space has.

    Yields the step and the mean training loss since the last yield, every STEPS_PER_POINT steps and first
    of all at step 0, so that the caller may look at the network as it goes.
    """
    adam = Adam(list(network.branch.parameters()))
    losses: list[Tensor] = []
    yield 0, evaluate(network, training, ratios, generator)
    for step in range(1, n_steps + 1):
        rows = torch.randint(len(training.weights), (ROWS_PER_STEP,), generator=generator)
        batch = training.at(rows.to(training.weights.device))
        loss = _loss(network, batch, _draw(ratios, ROWS_PER_STEP, generator), generator)
        adam.step(torch.autograd.grad(loss, adam.parameters))
        losses.append(loss.detach())
        if step % STEPS_PER_POINT == 0:
            yield step, float(torch.stack(losses).mean())
            losses.clear()


class Adam:
    """Adaptive gradient descent for complex parameters, real and imaginary part apart.

    torch's own class loads the compiler of torch on first use, which takes longer than to train.

    Kingma and Ba 2015, arXiv:1412.6980.
    """

    def __init__(self, parameters: list[Tensor], betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.parameters = parameters
        self.betas = betas
        self.n_steps = 0
        self.means = [torch.view_as_real(torch.zeros_like(p)) for p in parameters]
        self.squares = [torch.view_as_real(torch.zeros_like(p)) for p in parameters]

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """Move the parameters, in place, against their gradients."""
        self.n_steps += 1
        of_mean, of_square = self.betas
        for parameter, complex_gradient, mean, square in zip(
            self.parameters, gradients, self.means, self.squares, strict=True
        ):
            gradient = torch.view_as_real(complex_gradient.resolve_conj())
            mean.lerp_(gradient, 1 - of_mean)
            square.lerp_(gradient.square(), 1 - of_square)
            size = (square / (1 - of_square**self.n_steps)).sqrt() + 1e-8
            torch.view_as_real(parameter).sub_(LEARNING_RATE / (1 - of_mean**self.n_steps) * mean / size)


@torch.no_grad()
def evaluate(
    network: RakiNetwork, examples: Examples, ratios: Float32[Tensor, " level"], generator: torch.Generator
) -> float:
    """Loss over all examples, noise drawn once: energy of the error over energy of the targets."""
    return float(_loss(network, examples, _draw(ratios, len(examples.weights), generator), generator))


def _draw(ratios: Tensor, n_rows: int, generator: torch.Generator) -> Tensor:
    return ratios[torch.randint(len(ratios), (n_rows,), generator=generator).to(ratios.device)]


def _loss(network: RakiNetwork, examples: Examples, ratio: Tensor, generator: torch.Generator) -> Tensor:
    # Drawn in the basis, where white noise is white too: so the order of the coils changes nothing.
    noise = torch.randn(examples.components.shape, dtype=torch.complex64, generator=generator)
    components = examples.components + ratio.unsqueeze(-1) * noise.to(ratio.device)
    linear, correction = network(components, ratio)
    return _relative_error(linear + correction, examples)


def _relative_error(predicted: Targets, examples: Examples) -> Tensor:
    """Weighted energy of the error over that of the targets."""
    error = (predicted - examples.targets).abs().square().sum(dim=1)
    energy = examples.targets.abs().square().sum(dim=1)
    tiny = torch.finfo(torch.float32).tiny  # an empty slice has no error, relative to nothing
    return (examples.weights * error).sum() / (examples.weights * energy).sum().clamp(min=tiny)
