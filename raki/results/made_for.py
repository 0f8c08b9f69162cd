"""What weights were made for: coils, lattice, field of view and places, told alike of a result and of a scan."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from raki.errors import DamagedScan, UnsupportedScan
from raki.images import ScanSummary
from raki.planning import Cell, ScatteredSampling, plans_of, plans_of_planes
from raki.scan import Geometry, Scan
from raki.scan.geometry import Place
from raki.scan.header import parse_header

Finite = Annotated[float, Field(allow_inf_nan=False)]
Three = tuple[Finite, Finite, Finite]
Count = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(max_length=64)]


class Position(BaseModel):
    """Where an image lies in the patient: millimetres and unit vectors, axes LPS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position_mm: Three
    """Its centre."""
    read_direction: Three
    phase_direction: Three
    slice_direction: Three

    def place(self) -> Place:
        """The same as the rest of raki has it."""
        return Place(**self.model_dump())


class MadeFor(BaseModel):
    """The scan that weights come from, or one that they are to fill."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_coils: Count
    coil_names: tuple[Name, ...] = ()
    """In the order of the coils; empty where the file doesn't tell."""
    field_strength_t: Finite | None = None
    lattice: tuple[Count] | tuple[Count, Count, Annotated[int, Field(ge=0, le=64)]]
    """R; of a 3-D scan R along both phase-encode directions, and the shift."""
    n_phase_encode: Count
    n_readout: Count
    encoded_fov_mm: tuple[Finite, Finite]
    """Along phase-encode, all that its lines encode, and along the readout: it decides how far apart samples are."""
    n_acs_lines: Annotated[int, Field(ge=0)] = 0
    prewhitened: bool
    """Whether the coils were decorrelated by the scan's noise."""
    n_slices: Count
    n_frames: Count
    is_placed: bool
    """Whether the raw data tell where the images lie."""
    is_3d: bool = False
    positions: tuple[Position, ...] = Field(max_length=1 << 16)
    """Of each image, the slices of the first frame first; of a 3-D scan those of its slices."""

    @property
    def acceleration(self) -> int:
        """R, of both directions together."""
        return int(np.prod(self.lattice[:2]))


def made_for_result(scan: ScanSummary, gap: int | Cell) -> MadeFor:
    """What the weights of a result are for."""
    return MadeFor(
        n_coils=scan.n_coils,
        lattice=_lattice(gap),
        n_phase_encode=scan.sampled.size,
        n_readout=scan.n_ro if scan.points is None else scan.points.shape[1],
        encoded_fov_mm=_encoded_fov(scan.geometry),
        n_acs_lines=scan.n_acs_lines_apart or (scan.acs_lines[1] - scan.acs_lines[0] if scan.acs_lines else 0),
        prewhitened=scan.prewhitened,
        n_slices=scan.n_slices,
        n_frames=len(scan.frames),
        is_placed=scan.geometry.is_oriented,
        is_3d=scan.points is not None,
        positions=_positions(scan.geometry, scan.n_slices, scan.n_images),
        **_of_header(scan.header_xml),
    )


def made_for_scan(scan: Scan) -> MadeFor:
    """The same of a prepared scan that isn't reconstructed yet.

    Raises:
        UnsupportedScan: its lines or points are on no regular lattice.
    """
    sampled = scan.sampled if scan.sampled_by_image is None else scan.sampled_by_image
    plans = plans_of_planes(scan.sampled, 1) if scan.slab else plans_of(sampled, len(scan.kspace))
    sampling = plans[0].sampling
    if isinstance(sampling, ScatteredSampling):
        raise UnsupportedScan(
            "the scan's points lie on no lattice, and weights are of one: reconstruct it without a model"
        )
    _, n_coils, n_pe, n_ro = scan.kspace.shape
    return MadeFor(
        n_coils=n_coils,
        lattice=_lattice(sampling.gap),
        n_phase_encode=n_pe,
        n_readout=n_ro,
        encoded_fov_mm=_encoded_fov(scan.geometry),
        n_acs_lines=sampling.n_acs_lines if scan.acs is None else scan.acs.shape[-2],
        prewhitened=scan.prewhitened,
        n_slices=scan.n_slices,
        n_frames=len(scan.frames),
        is_placed=scan.geometry.is_oriented,
        is_3d=scan.slab is not None,
        positions=_positions(scan.geometry, scan.n_slices, len(scan.frames) * scan.n_slices),
        **_of_header(scan.header_xml),
    )


def _lattice(gap: int | Cell) -> tuple[int] | tuple[int, int, int]:
    return (gap.n_pe, gap.n_pe2, gap.shift) if isinstance(gap, Cell) else (gap,)


def _encoded_fov(geometry: Geometry) -> tuple[float, float]:
    read_mm, phase_mm, _ = geometry.fov_mm
    return phase_mm * geometry.phase_oversampling, read_mm


def _positions(geometry: Geometry, n_slices: int, n_images: int) -> tuple[Position, ...]:
    return tuple(Position(**asdict(geometry.place_of(image, n_slices))) for image in range(n_images))


def _of_header(xml: str) -> Mapping[str, Any]:
    """Field strength and the coils' names, where the header has them."""
    try:
        system = parse_header(xml).acquisitionSystemInformation
    except DamagedScan:
        return {}
    if system is None:
        return {}
    field_t = system.systemFieldStrength_T
    labels = sorted(
        (label.coilNumber, str(label.coilName)[:64]) for label in system.coilLabel if isinstance(label.coilNumber, int)
    )
    is_told = isinstance(field_t, int | float) and 0 < field_t < 100
    return {"field_strength_t": field_t if is_told else None, "coil_names": tuple(name for _, name in labels)}
