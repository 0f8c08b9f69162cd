"""Fill the gaps so that all coils show one image, and that image little detail below its noise.

A kernel looks at two or four lines; the image knows of all of them. The linear filling gives coil images, these the
sensitivities, and both together a start. From there, each step moves the image towards the acquired samples and, far
more weakly, towards the linear filling; then detail that doesn't stand out of the noise is taken from it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d

from raki.coils import espirit
from raki.kspace.measured import LinearlyFilling, MeasuredSlice
from raki.kspace.mistakes import noise_to_explain_mistakes, white_noise
from raki.kspace.sparsity import CombinedImage, shrunk
from raki.scan.fourier import COLUMNS, PLANES, CoilImages, SliceKSpace, to_image, to_kspace

# All constants were chosen on the tuning scans of benchmarks/README.md.
# Sixty steps come out the same.
N_STEPS = 12
# Weight of a linearly filled sample beside an acquired one.
TRUST_IN_FILLING = 0.05
# The smooth phase is that of the central samples, at most so many along an axis, and at most a third of it.
N_PHASE_SAMPLES = 32
# What one set of sensitivities can't show, as a second layer of a folded object, is kept where it stands out of noise
# within a square of so many pixels.
OUTSIDE_PIXELS = 7
NOISE_PIXELS = 15
# A noise floor of this part of the signal's energy counts half.
FLOOR_UNSEEN = 0.03


@dataclass(frozen=True, kw_only=True)
class CoilModel:
    """What is known of a slice once it was filled linearly."""

    linear: LinearlyFilling
    sensitivities: Complex64[Tensor, "coil pe ro"]
    """Of unit norm over the coils in each pixel."""
    sigma: float
    """Standard deviation of what the linear filling can't explain in a complex sample, as if it were noise."""
    noise: Float32[Tensor, "pe ro"]
    """Standard deviation of that noise in the combined image, filled linearly; a half of its energy is in phase."""
    noise_outside: Float32[Tensor, "pe ro"]
    """Energy over the coils of that noise, as far as the sensitivities don't show it."""


def coil_model(
    measured: MeasuredSlice, filled: SliceKSpace, linear: LinearlyFilling, seed: int, *, sigma: float | None = None
) -> CoilModel:
    """Sensitivities and noise of a slice that `linear` filled.

    Args:
        sigma: noise that explains the mistakes of `linear`; by default that which explains its mistakes on a lattice.

    Uecker et al. 2014, Magn Reson Med 71:990-1001, doi:10.1002/mrm.24751 (the sensitivities).
    """
    if sigma is None:
        sigma = noise_to_explain_mistakes(measured, filled, linear, seed)
    n_pe, n_ro = filled.shape[1:]
    maps = espirit(filled, shape=(n_pe, n_ro), crop=0.0, sigma=sigma).maps
    noise = white_noise(measured, sigma, torch.Generator().manual_seed(seed))
    noise_images = to_image(linear.fill(noise, measured.sampling))
    shown = _combined(maps, noise_images)
    return CoilModel(
        linear=linear,
        sensitivities=maps,
        sigma=sigma,
        noise=_box(shown.abs().square(), NOISE_PIXELS).sqrt(),
        noise_outside=_box(_energy(noise_images - maps * shown), NOISE_PIXELS),
    )


@dataclass(frozen=True, kw_only=True)
class SparseFilling:
    """Fills with joint sparsity of all coils: what it removes depends on what it sees."""

    model: CoilModel
    strength: float
    """The threshold in units of the noise."""
    trust: float = TRUST_IN_FILLING
    """Weight of a linearly filled sample beside an acquired one."""
    n_steps: int = N_STEPS

    def filled(self, measured: MeasuredSlice) -> SliceKSpace:
        """The slice with its gaps filled, acquired lines as they came."""
        return self.refined(measured, self.model.linear.filled(measured))

    def refined(self, measured: MeasuredSlice, filled: SliceKSpace) -> SliceKSpace:
        """`filled`, if `filled` is the slice as the linear filling fills it.

        Minimises ‖w(y - F S z)‖² + a penalty on the details of z by accelerated proximal steps, where w² is 1 for
        acquired samples and `trust` for linearly filled ones, which y holds. Where these are lines, whole
        along the readout, transforms run along phase-encode only.

        Beck and Teboulle 2009, SIAM J Imaging Sci 2:183-202, doi:10.1137/080716542; Lustig et al. 2007, Magn Reson Med
        58:1182-1195, doi:10.1002/mrm.21391.
        """
        images = to_image(filled)
        combined = _combined(self.model.sensitivities, images)
        outside = self._kept_outside(images - self.model.sensitivities * combined, combined)
        shown = images - outside
        weights = _weights(measured, self.trust)
        to = COLUMNS if weights.shape[1] == 1 else PLANES
        maps, weights = to.corner(self.model.sensitivities), to.corner(weights)
        phase = to.corner(_smooth_phase(_combined(self.model.sensitivities, shown)))
        wanted = to.kspace(to.corner(shown))
        threshold = self.strength * self.model.sigma
        image = extrapolated = to.corner(combined)
        momentum = 1.0
        for _ in range(self.n_steps):
            errors = (wanted - to.kspace(maps * extrapolated)).mul_(weights)
            moved = extrapolated + _combined(maps, to.image(errors))
            before, image = image, shrunk(moved, threshold, phase)
            faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            extrapolated = image + (momentum - 1) / faster * (image - before)
            momentum = faster
        made = to_kspace(self.model.sensitivities * to.centred(image) + outside)
        # What the linear filling left empty was never meant to be acquired: lines beyond the lattice, a partial echo.
        return measured.keeping_known(torch.where(filled != 0, made, 0))

    def _kept_outside(self, outside: CoilImages, combined: CombinedImage) -> CoilImages:
        """What the sensitivities don't show, as far as it stands out of its noise; and its noise, where that is seen.

        All lines would have noise in all coils, and their root sum of squares a floor. Where the signal is not far
        above it, an image without that floor were too dark.
        """
        tiny = torch.finfo(torch.float32).tiny
        energy = _box(_energy(outside), OUTSIDE_PIXELS).clamp(min=tiny)
        standing_out = 1 - self.model.noise_outside / energy
        floor = (len(outside) - 1) * self.model.sigma**2
        seen = floor / (floor + FLOOR_UNSEEN * _box(combined.abs().square(), OUTSIDE_PIXELS) + tiny)
        as_strong = (floor / self.model.noise_outside.clamp(min=tiny)).sqrt().clamp(max=1)
        return outside * standing_out.maximum(seen * as_strong).clamp(min=0)


def _weights(measured: MeasuredSlice, trust: float) -> Float32[Tensor, "pe _"]:
    """1 for acquired samples, `trust` for filled ones, 0 for those never meant to be acquired."""
    meant = torch.from_numpy(measured.sampling.meant_points()).to(measured.kspace.device)
    weights = torch.where(meant, trust, 0.0)
    weights[measured.known] = 1
    return weights


def _smooth_phase(image: CombinedImage) -> CombinedImage:
    """Phase of the image at low resolution, as a modulus of 1; 0 where there is nothing."""
    kspace = to_kspace(image[None])[0]
    brightest = divmod(int(kspace.abs().argmax()), kspace.shape[1])
    windows = []
    for n_samples, centre in zip(kspace.shape, brightest, strict=True):
        half_width = min(N_PHASE_SAMPLES, n_samples // 3) / 2
        distance = (torch.arange(n_samples, device=image.device) - centre) / half_width
        windows.append(torch.where(distance.abs() < 1, torch.cos(torch.pi / 2 * distance).square(), 0))
    smooth = to_image((kspace * windows[0][:, None] * windows[1])[None])[0]
    return torch.sgn(smooth)


def _combined(maps: Complex64[Tensor, "coil pe ro"], images: CoilImages) -> CombinedImage:
    return torch.linalg.vecdot(maps, images, dim=0)


def _energy(images: CoilImages) -> Float32[Tensor, "pe ro"]:
    return torch.view_as_real(images).square().sum(dim=(0, -1))


def _box(image: Float32[Tensor, "pe ro"], n_pixels: int) -> Float32[Tensor, "pe ro"]:
    """Mean over a square around each pixel, as far as it lies in the image."""
    return avg_pool2d(image[None], n_pixels, 1, n_pixels // 2, count_include_pad=False)[0]
