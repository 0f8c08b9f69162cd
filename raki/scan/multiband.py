"""Slices that were excited at once, and the phase that tells them apart."""

from dataclasses import dataclass

from raki.scan.nyquist import NyquistPhase


@dataclass(frozen=True, kw_only=True)
class SliceGhosts:
    """Of slices excited at once that are read back and forth (EPI): the ghost that each of them has in the sum.

    The sum was corrected by one phase, each slice of the reference by its own.
    """

    phases: tuple[tuple[NyquistPhase, ...], ...]
    """Of each group and each of its slices: what the sum's correction leaves of the slice's own phase."""
    common: tuple[NyquistPhase, ...]
    """Of each group the phase by which its first sum was corrected, beyond that which the navigators of its slices in
    the reference show together: a drift, or what the excitation of several slices made of the sum's navigators."""
    reversed_lines: tuple[bool, ...]
    """Of each line of the sums' k-space whether it was read backward; lines that weren't acquired count as forward."""

    def __post_init__(self) -> None:
        if len({len(group) for group in self.phases}) != 1 or len(self.common) != len(self.phases):
            raise ValueError("ghosts of groups that differ in size were given; needed is one for each slice")


@dataclass(frozen=True, kw_only=True)
class SliceGroups:
    """Which slices were excited at once (simultaneous multi-slice, multiband).

    A line of a group holds the sum of its slices. On line k of n each carries the phase
    exp(2 pi i turns (k - n // 2)): a shift of the image along phase-encode by `turns` times its rows.

    Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097 (blipped-CAIPI).
    """

    slices: tuple[tuple[int, ...], ...]
    """Of each group its slices, by their numbers in spatial order; each is in one group."""
    turns: tuple[tuple[float, ...], ...]
    """Likewise, of each slice the turns of phase from one line of k-space to the next; dimensionless."""
    ghosts: SliceGhosts | None = None
    """None where the lines were read in one direction."""

    def __post_init__(self) -> None:
        numbers = sorted(number for group in self.slices for number in group)
        sizes = [[len(group) for group in of_each] for of_each in (self.slices, self.turns)]
        if not numbers or numbers != list(range(len(numbers))) or sizes[0] != sizes[1] or len(set(sizes[0])) > 1:
            raise ValueError(
                f"groups of {sizes[0]} slices with {sizes[1]} turns were given; needed are groups of one size, with "
                "each slice once, and turns for each"
            )
        if self.ghosts and [len(group) for group in self.ghosts.phases] != sizes[0]:
            raise ValueError(f"groups of {sizes[0]} slices were given with ghosts of others; needed is one for each")

    @property
    def n_slices(self) -> int:
        """Of all groups."""
        return sum(map(len, self.slices))

    @property
    def n_bands(self) -> int:
        """Slices of a group: the multiband factor."""
        return len(self.slices[0])

    def place_of(self, slice_number: int) -> tuple[int, int]:
        """The group of a slice, and its place in it."""
        return next(
            (number, group.index(slice_number)) for number, group in enumerate(self.slices) if slice_number in group
        )
