"""What a method is to the benchmarks: zero-filled k-space in, filled k-space out; and one whose setting is tuned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.undersampling import Undersampling
from raki.coils import root_sum_of_squares
from raki.images import nmse, object_mask
from raki.scan.fourier import KSpace, to_image

Fill = Callable[[KSpace, Undersampling], KSpace]


@dataclass(frozen=True, kw_only=True)
class TunedFill:
    """A method in several settings, of which the answer says the best: what no one who lacks the answer can have."""

    settings: Mapping[str, Fill]

    def settled(self, full: KSpace, lines: Undersampling) -> tuple[Fill, list[str]]:
        """The method with the setting of lowest NMSE inside the object of each slice, and these settings.

        Another scan of as many slices can be filled with the same settings.

        Args:
            full: the fully sampled scan, the answer.
            lines: which lines of it were acquired.
        """
        measured = lines.applied_to(full)
        references = root_sum_of_squares(to_image(full))
        errors: dict[str, list[float]] = {}
        for name, fill in self.settings.items():
            images = root_sum_of_squares(to_image(fill(measured, lines)))
            pairs = zip(images, references, strict=True)
            errors[name] = [nmse(image, reference, object_mask(reference)) for image, reference in pairs]
        best = [min(errors, key=lambda name: errors[name][index]) for index in range(len(full))]
        return self._each_with(best), best

    def _each_with(self, names: list[str]) -> Fill:
        def fill(measured: KSpace, lines: Undersampling) -> KSpace:
            slices = zip(names, measured.split(1), strict=True)
            return torch.cat([self.settings[name](one, lines) for name, one in slices])

        return fill


def settled(how: Fill | TunedFill, full: KSpace, lines: Undersampling) -> tuple[Fill, list[str]]:
    """The call itself and nothing to say of each slice, or a tuned method's, see `TunedFill.settled`."""
    return how.settled(full, lines) if isinstance(how, TunedFill) else (how, [""] * len(full))
