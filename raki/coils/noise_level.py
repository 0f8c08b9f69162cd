"""How strong the noise is, where no noise scan tells: two estimates that err on different scans.

Patches of the ACS tell noise from signal by rank. They take noise for white: what the receiver's filter cuts from the
edges of the field of view, and coils whose noise is correlated, lower their answer, down to half on measured scans.
Outer k-space has noise at one level everywhere, and signal at a different one in each place. Where it is signal through
and through (low resolution, few lines, an object that fills the field of view), its answer is too high, without limit.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex128, Float, Float64
from torch import Tensor

from raki.scan.fourier import SliceAcs, SliceKSpace

# Patches of at least so many samples, in all coils, leave some room for noise alone; fewer coils need larger ones.
PATCH_FEATURES = 72
# Small patches keep the matrix far taller than wide, which the theory needs.
SMALLEST_PATCH = 3

# The rest was chosen on eleven measured slices and eight simulated scans, R of 1 to 6. Lines count as outer ones beyond
# this part of the way to the farthest; more of them where a place would have fewer samples than it takes.
OUTER_FROM = 0.75
SAMPLES_A_PLACE = 48
# Of the points of a plane.
OUTER_POINTS = 0.1
# Parts of the readout, overlapping by half, and positions across the field of view that each is transformed to.
N_PARTS, N_POSITIONS = 3, 16
FEWEST_SAMPLES = 4
# Half of the readout in each part, spread over the positions; the window weighs half of these samples away.
SAMPLES_OF_READOUT_A_PLACE = 2 * 2 * N_POSITIONS
# Samples fainter than this part of the median energy were padded or filtered away, not received.
RECEIVED_FROM = 1e-3
# A sixth of the places at one level are noise. The receiver's roll-off at both edges makes fewer that are alike.
SHARED_BY = 1 / 6
# Energies at one level: so many standard deviations about it, one of which no receiver is flatter than.
SPREAD = 2.5
RIPPLE = 0.05

# Two estimates within this factor of each other agree.
AGREED_WITHIN = 2.0
# Patches were never so far below the noise of a measured scan; outer k-space that says more is signal.
SIGNAL_BEYOND = 4.0


@dataclass(frozen=True, kw_only=True)
class NoiseLevel:
    """Standard deviation of a complex sample's noise, root mean square over the coils, in units of the k-space."""

    sigma: float
    """What to reckon with."""
    by_patches: float
    """What the rank of the ACS's patches says; 0 where it tells no noise from signal."""
    by_outer_kspace: float
    """The level that many places of outer k-space share; 0 where nothing was acquired."""

    @property
    def agreed(self) -> bool:
        """Whether both found the same, within a factor of two."""
        low, high = sorted((self.by_patches, self.by_outer_kspace))
        return high <= AGREED_WITHIN * low

    def scaled(self, scale: float) -> "NoiseLevel":
        """The same in other units."""
        return NoiseLevel(
            sigma=self.sigma * scale,
            by_patches=self.by_patches * scale,
            by_outer_kspace=self.by_outer_kspace * scale,
        )


def estimate_noise(kspace: SliceKSpace, acs: SliceAcs, acquired: Bool[Tensor, "pe _"]) -> NoiseLevel:
    """The noise level of a slice, from its outer k-space and its ACS; 0 only where the samples hold none.

    Outer k-space is believed up to four times what patches say, and patches beyond. On measured scans without a noise
    scan, which nobody whitened, the answer is within 1.5 of what fully sampled k-space says; on simulated ones with
    white noise within 1.25.

    Args:
        kspace: samples that were not acquired are not read.
        acs: a part of it, or a scan of its own at the same level.
        acquired: samples of `kspace`; whole lines where it has one column.
    """
    of_lines = acquired.shape[1] == 1
    levels = outer_kspace_levels(kspace, acquired[:, 0]) if of_lines else outer_point_levels(kspace, acquired)
    outer = float(levels.square().mean().sqrt())
    patches = estimate_sigma(acs)
    if bool((levels > 0).all()):
        # Noise that isn't equal in all coils only lowers the answer, so the higher one is the better.
        patches = max(patches, outer * estimate_sigma((acs / levels[:, None, None]).to(acs.dtype)))
    found = NoiseLevel(sigma=outer, by_patches=patches, by_outer_kspace=outer)
    if found.agreed:
        return found
    is_signal = 0 < SIGNAL_BEYOND * patches < outer
    return replace(found, sigma=patches if is_signal else max(patches, outer))


def estimate_sigma(acs: SliceAcs) -> float:
    """Standard deviation of a complex sample's noise, in units of `acs`; 0 where none can be told from signal.

    The matrix of all patches of the ACS has low rank but for its noise, and noise alone has
    Marchenko-Pastur distributed eigenvalues: the longest tail of small eigenvalues that is no wider
    than this distribution is noise, and its mean the variance. Supposes equal and uncorrelated noise in
    all coils, and white noise along the lines; where it is not, the answer is too low.

    Veraart et al. 2016, NeuroImage 142:394-406, doi:10.1016/j.neuroimage.2016.08.016.
    """
    n_coils, n_lines, n_ro = acs.shape
    if not acs.numel():
        return 0.0
    side = max(SMALLEST_PATCH, math.ceil((PATCH_FEATURES / n_coils) ** 0.5))
    patches = acs.unfold(-2, min(side, n_lines // 2), 1).unfold(-2, min(side, n_ro // 2), 1)
    rows = patches.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1).to(torch.complex128)
    energies = torch.linalg.eigvalsh(rows.mH @ rows / len(rows)).clamp(min=0)
    return _noise_tail(energies, len(rows)) ** 0.5


def _noise_tail(energies: Float[Tensor, " component"], n_rows: int) -> float:
    """Mean of the longest Marchenko-Pastur tail of ascending eigenvalues; 0 if only one would be left."""
    n_tail = torch.arange(1, len(energies) + 1, device=energies.device, dtype=energies.dtype)
    mean = energies.cumsum(0) / n_tail
    # The distribution's support is 4 sqrt(n_tail / n_rows) variances wide.
    variance_by_width = (energies - energies[0]) / (4 * (n_tail / n_rows).sqrt())
    fitting = (variance_by_width[1:] <= mean[1:]).nonzero().flatten()
    return float(mean[fitting[-1] + 1]) if len(fitting) else 0.0


def outer_kspace_levels(kspace: SliceKSpace, acquired: Bool[Tensor, " pe"]) -> Float64[Tensor, " coil"]:
    """Standard deviation of each coil's noise, at the lowest level that many places of outer k-space share.

    A place is a position across the readout's field of view, as one part of the outermost lines' readout sees it.
    Beside the object, and at high frequencies where it is smooth, there is noise alone, and it has one level. Signal
    differs from place to place. Where no level is shared, it is the one that a sixth of the places don't reach.
    """
    lines = _outer_lines(kspace, acquired)
    n_ro = lines.shape[-1]
    if n_ro < FEWEST_SAMPLES:
        return torch.zeros(len(lines), dtype=torch.float64, device=lines.device)
    window = torch.hann_window(n_ro // 2, periodic=False, dtype=torch.float64, device=lines.device)
    window = (window / torch.linalg.vector_norm(window)).to(lines.dtype)
    parts = lines.unfold(-1, n_ro // 2, max(1, (n_ro - n_ro // 2) // (N_PARTS - 1))) * window
    energies = torch.fft.fft(parts, dim=-1).abs().square().mean(dim=1)
    positions = energies.tensor_split(min(N_POSITIONS, n_ro // 2), dim=-1)
    places = torch.stack([position.mean(dim=-1) for position in positions], dim=-1).flatten(1)
    n_samples = len(lines) * lines.shape[1] * n_ro / SAMPLES_OF_READOUT_A_PLACE
    chosen = _at_lowest_shared_level(places.sum(dim=0), math.exp(2 * SPREAD * math.hypot(n_samples**-0.5, RIPPLE)))
    return places[:, chosen].mean(dim=1).sqrt()


def outer_point_levels(kspace: SliceKSpace, acquired: Bool[Tensor, "pe ro"]) -> Float64[Tensor, " coil"]:
    """Root mean square of each coil at the acquired points farthest from the brightest one: no less than its noise.

    Of a plane of two phase-encode directions, in which single points were acquired.
    """
    places = acquired.to(kspace.device).nonzero()
    samples = kspace[:, places[:, 0], places[:, 1]].to(torch.complex128)
    energy = samples.abs().square()
    size = torch.tensor(kspace.shape[1:], device=kspace.device)
    distance = ((places - places[energy.sum(dim=0).argmax()]) / size).square().sum(dim=1)
    n_outer = max(FEWEST_SAMPLES, round(OUTER_POINTS * len(places)))
    outer = distance.argsort(descending=True, stable=True)[:n_outer]
    return energy[:, outer].mean(dim=1).sqrt()


def _outer_lines(kspace: SliceKSpace, acquired: Bool[Tensor, " pe"]) -> Complex128[Tensor, "coil line received"]:
    """The acquired lines farthest from the brightest one, less the samples at both ends that were never received."""
    lines = acquired.to(kspace.device).nonzero().flatten()
    energy = kspace[:, lines].abs().square().sum(dim=(0, 2))
    distance = (lines - lines[energy.argmax()]).abs()
    a_line = kspace.shape[0] * kspace.shape[2] / SAMPLES_OF_READOUT_A_PLACE
    n_outer = max(int((distance >= OUTER_FROM * distance.max()).sum()), math.ceil(SAMPLES_A_PLACE / a_line))
    outer = kspace[:, lines[distance.argsort(descending=True, stable=True)[:n_outer]]].to(torch.complex128)
    energy = outer.abs().square().sum(dim=(0, 1))
    if not energy.any():
        return outer[..., :0]
    received = (energy > RECEIVED_FROM * energy[energy > 0].median()).nonzero().flatten()
    return outer[..., received[0] : received[-1] + 1]


def _at_lowest_shared_level(energies: Float64[Tensor, " place"], within: float) -> Bool[Tensor, " place"]:
    """The places at the lowest level that a sixth of them share: their energies are within a factor of each other."""
    ordered = energies.sort().values
    n_needed = math.ceil(SHARED_BY * len(ordered))
    n_lower = torch.arange(len(ordered), device=ordered.device)
    n_alike = torch.searchsorted(ordered, ordered * within, side="right") - n_lower
    shared = (n_alike >= n_needed).nonzero().flatten()
    if len(shared) == 0:
        return energies <= ordered[n_needed - 1]
    first = int(shared[0])
    return (energies >= ordered[first]) & (energies <= ordered[first] * within)
