"""A reconstruction whose every number is known, for the tests of what is written of it."""

import numpy as np
from ismrmrd import xsd

from raki.images import Reconstruction, ScanSummary
from raki.kspace import EXPLANATION_PARTS
from raki.kspace.cross_validation import CrossValidation
from raki.kspace.method import TrainingPoint
from raki.phantom.simulation import scan_header
from raki.scan import Frame, Geometry

HEADER_XML = str(xsd.ToXML(scan_header(3, 6, 40, 4)))

# A tilted slab, pixels of 2 by 3 mm: nothing in it is symmetric or equal by chance.
TILTED = Geometry(
    fov_mm=(80.0, 96.0, 5.0),
    matrix=(32, 40),
    slice_spacing_mm=6.0,
    read_direction=(0.8, 0.6, 0.0),
    phase_direction=(-0.6, 0.8, 0.0),
    slice_direction=(0.0, 0.0, 1.0),
    position_mm=(11.0, -7.0, 23.0),
)

# Of an image's brightness, which they add up to.
PARTS = dict(zip(EXPLANATION_PARTS, np.float32([0.75, 0.125, 0.0625, 0.0625, -0.01, 0.01]), strict=True))

WARNING = "The scan has no noise samples; the noise level was estimated from outer k-space and the ACS."


def example_cross_validation(n_slices: int) -> CrossValidation:
    return CrossValidation(
        n_slices_by_choice={"raki_linear": n_slices - 1, "grappa": 1} if n_slices > 1 else {"raki": 1},
        held_out_error=0.012,
        grappa_held_out_error=3.4,
        structure_kept=0.93,
        grappa_structure_kept=0.96,
        noise_measured=False,
        noise_sigma=0.98,
        warnings=(WARNING,),
    )


def example_reconstruction(
    *,
    n_slices: int = 3,
    frames: tuple[Frame, ...] = (Frame(),),
    geometry: Geometry = TILTED,
    notes: tuple[str, ...] = (),
    n_steps: int = 20,
    with_maps: bool = True,
    with_explanation: bool = False,
) -> Reconstruction:
    random = np.random.default_rng(5)
    shape = (len(frames) * n_slices, *geometry.matrix)
    result = random.rayleigh(size=shape).astype(np.float32)
    ramp = np.broadcast_to(np.linspace(1, 3, geometry.matrix[1], dtype=np.float32), shape).copy()
    sampled = np.zeros(geometry.matrix[0], bool)
    sampled[1::4] = True
    sampled[12:20] = True
    return Reconstruction(
        method="raki",
        combination="rss",
        n_virtual_coils=None,
        images={"zero_filled": result * np.float32(0.5), "grappa": result * np.float32(1.01), "raki": result},
        # A g-factor that grows from 1 to 3 along the readout, and an error that is a tenth of it.
        maps={"g_factor": ramp, "standard_error": ramp / 10, "structure_kept": ramp / 3} if with_maps else {},
        explanation={name: part * result for name, part in PARTS.items()} if with_explanation else {},
        cross_validation=example_cross_validation(shape[0]),
        scan=ScanSummary(
            n_slices=n_slices,
            frames=frames,
            n_coils=6,
            n_ro=geometry.matrix[1],
            sampled=sampled,
            encoded_lines=(0, geometry.matrix[0]),
            acceleration=4,
            net_acceleration=2.5,
            acs_lines=(12, 20),
            n_acs_lines_apart=0,
            prewhitened=True,
            geometry=geometry,
            header_xml=HEADER_XML,
        ),
        seed=3,
        device="cpu",
        training_curve=tuple(
            TrainingPoint(step=10 * step, training_loss=0.5 / (step + 1), validation_loss=0.6 / (step + 1))
            for step in range(n_steps)
        ),
        notes=notes,
        seconds={"zero_filled": 0.01, "grappa": 0.2, "raki": 1.5},
    )
