"""`raki reconstruct` and `raki simulate`: images of a scan, and a scan to try it on."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raki.commands.models import StoreFolder, is_path, store_of
from raki.commands.raw_files import RawFile, prepared_scan, progress_bar
from raki.commands.targets import Force, require_device, require_folder, require_free, require_room, room_beside
from raki.names import OPTIONS_FILE
from raki.options import COMBINATIONS, LARGEST, MISMATCHES, Options, choose, method_names, read_options

if TYPE_CHECKING:

    class Method(StrEnum):
        """What fills in the lines that were not acquired."""

    class Combination(StrEnum):
        """How the coils become one image."""

    class Unfit(StrEnum):
        """What becomes of a scan that a model isn't for."""

else:
    Method = StrEnum("Method", {name: name for name in method_names()})
    Combination = StrEnum("Combination", {name: name for name in COMBINATIONS})
    Unfit = StrEnum("Unfit", {name: name for name in MISMATCHES})

DEFAULTS = Options()


# An option that is left out is None: the scan's raki.toml says it, or else the default that is shown.
MethodChoice = Annotated[
    Method | None,
    typer.Option(
        help="What fills in the lines that were not acquired; iraki, raki2019 and rraki as published, and slow.",
        show_default=DEFAULTS.method,
    ),
]
CombinationChoice = Annotated[
    Combination | None,
    typer.Option(
        help="Coils to one image: root sum of squares, or by the sensitivities they show.",
        show_default=DEFAULTS.combine,
    ),
]
CoilsChoice = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LARGEST["coils"],
        help="Compress the coils to so many before filling; 0: all are used as they are.",
        show_default=str(DEFAULTS.coils),
    ),
]
MapsChoice = Annotated[
    bool | None,
    typer.Option(
        "--maps/--no-maps",
        help="Maps of g-factor and standard error, of a method that makes them.",
        show_default="maps",
    ),
]
WeightsChoice = Annotated[
    bool | None,
    typer.Option(
        "--weights/--no-weights",
        help="Write the weights of the kernels, of a method that has one: `weights.safetensors`.",
        show_default="no weights",
    ),
]
QuantitiesChoice = Annotated[
    bool | None,
    typer.Option(
        "--quantities/--no-quantities",
        help="Phase, signal-to-noise and the maps as DICOM series too, in true units: `phase.dcm` and so on.",
        show_default="no quantities",
    ),
]
KspaceChoice = Annotated[
    bool | None,
    typer.Option(
        "--kspace/--no-kspace",
        help="Write the filled k-space of all coils, complex: `kspace.h5`.",
        show_default="no kspace",
    ),
]
ExplainChoice = Annotated[
    bool | None,
    typer.Option(
        "--explain/--no-explain",
        help="Tell where the brightness of each pixel comes from: maps, and in the report for a region that one draws.",
        show_default="no explain",
    ),
]
ModelChoice = Annotated[
    str | None,
    typer.Option(
        help="A model by NAME, NAME@VERSION or NAME@sha256:DIGEST, or a path to its folder or to weights.safetensors.",
        show_default="none",
    ),
]
MismatchChoice = Annotated[
    Unfit | None,
    typer.Option(
        help="A scan that the model isn't for: refused, or calibrated on its own.", show_default=DEFAULTS.mismatch
    ),
]
SeedChoice = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LARGEST["seed"],
        help="Seed of the training: the same seed gives the same image.",
        show_default=str(DEFAULTS.seed),
    ),
]


def reconstruct(
    file: RawFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images and the report.")],
    method: MethodChoice = None,
    combine: CombinationChoice = None,
    coils: CoilsChoice = None,
    maps: MapsChoice = None,
    weights: WeightsChoice = None,
    quantities: QuantitiesChoice = None,
    kspace: KspaceChoice = None,
    explain: ExplainChoice = None,
    model: ModelChoice = None,
    mismatch: MismatchChoice = None,
    store: StoreFolder = None,
    dicom: Annotated[bool, typer.Option(help="Write DICOM images too, into the folder `dicom`.")] = False,
    seed: SeedChoice = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
) -> None:
    """Reconstruct one raw scan on this machine, without any cloud.

    A raki.toml in the scan's archive or folder, or beside the scan, says what is left out here.
    """
    from raki.images import reconstruct_as
    from raki.models.choosing import chosen_model
    from raki.results import kept_kspace, write_results

    asked = {
        "method": method and method.value,
        "combine": combine and combine.value,
        "coils": coils,
        "maps": maps,
        "weights": weights,
        "quantities": quantities,
        "kspace": kspace,
        "explain": explain,
        "mismatch": mismatch and mismatch.value,
        "seed": seed,
    }
    path = None if model is None or not is_path(model) else Path(model)
    if model is not None and path is None:
        asked["model"] = model
    require_folder(output, file)
    require_device(device)
    with progress_bar() as show, prepared_scan(file, show) as (scan, source, own), room_beside(output) as room:
        n_coils = scan.kspace.shape[1]
        if coils is not None and coils > n_coils:
            raise typer.BadParameter(f"--coils is {coils} and the scan has {n_coils} coils; ask for 1 to {n_coils}")
        said = {name: value for name, value in asked.items() if value is not None}
        try:
            chosen = choose({OPTIONS_FILE: read_options(own), "command line": said})
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        brought = chosen_model(chosen, scan, store=store_of(store), path=path)
        chosen = brought.chosen
        kept = kept_kspace(chosen.options.kspace, room, scan, method=chosen.options.method)
        keep = kept.take if kept else None
        result = reconstruct_as(chosen, scan, device=device, model=brought.model, keep=keep, progress=show)
        show("writing", 0.0)
        written = write_results(
            result,
            output,
            source=source,
            chosen=chosen,
            single_dicoms=dicom,
            quantities=chosen.options.quantities,
            kspace=kept.path if kept else None,
        )
        show("writing", 1.0)
    for path in written:
        typer.echo(path)


def simulate(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write: *.h5, *.tar or *.tar.gz.")],
    slices: Annotated[int, typer.Option(min=1, max=256)] = 4,
    coils: Annotated[int, typer.Option(min=1, max=128)] = 12,
    matrix: Annotated[int, typer.Option(min=32, max=1024, help="Pixels along readout and phase-encode.")] = 192,
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=1, max=12)] = 4,
    acs: Annotated[int, typer.Option(min=0, help="Fully sampled lines in the centre.")] = 24,
    partial_fourier: Annotated[
        float, typer.Option(min=0.55, max=1.0, help="Part of the lines that is acquired; 6/8 is 0.75.")
    ] = 1.0,
    partitions: Annotated[
        int | None, typer.Option(min=4, max=256, help="A 3-D scan of so many partitions, instead of slices.")
    ] = None,
    along_partitions: Annotated[int, typer.Option(min=1, max=8, help="Acceleration along the partitions (3-D).")] = 1,
    shift: Annotated[int, typer.Option(min=0, max=7, help="CAIPIRINHA shift, in partitions (3-D).")] = 0,
    elliptical: Annotated[bool, typer.Option(help="Leave out the corners of k-space (3-D).")] = False,
    slabs: Annotated[
        int, typer.Option(min=1, max=16, help="Slabs of so many partitions, one after the other (3-D).")
    ] = 1,
    overlap: Annotated[int, typer.Option(min=0, max=64, help="Partitions that neighbouring slabs share (3-D).")] = 0,
    at_random: Annotated[
        bool,
        typer.Option("--random", help="Points at random instead of on a lattice, as compressed sensing has (3-D)."),
    ] = False,
    multiband: Annotated[int, typer.Option(min=1, max=8, help="Slices that are excited at once (2-D).")] = 1,
    caipi_shift: Annotated[
        int, typer.Option(min=1, max=8, help="Shift between them: one N-th of the field of view over R (multiband).")
    ] = 1,
    epi: Annotated[bool, typer.Option(help="Lines read back and forth, with navigators (multiband).")] = False,
    frames: Annotated[int, typer.Option(min=1, max=1000, help="Repetitions (3-D at random; multiband, EPI).")] = 1,
    ghost: Annotated[
        float,
        typer.Option(min=0.0, max=3.0, help="Phase of the N/2 ghost from slice to slice, in rad (multiband, EPI)."),
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Force = False,
) -> None:
    """Write the raw scan of a head phantom, as a scanner would."""
    from raki.phantom import (
        SLICES_AT_WORK,
        bytes_needed,
        simulate_multiband,
        simulate_multiband_epi,
        simulate_scan,
        simulate_volume,
        volume_bytes_needed,
    )

    require_free(file, force=force)
    if acs > matrix:
        raise typer.BadParameter(f"--acs is {acs} and there are {matrix} lines; ask for 0 to {matrix}")
    _require_together(
        is_3d=partitions is not None,
        of_3d=along_partitions > 1 or shift > 0 or elliptical or at_random or slabs > 1 or overlap > 0,
        at_random=at_random,
        multiband=multiband,
        caipi_shift=caipi_shift,
        partial_fourier=partial_fourier,
        epi=epi,
        frames=frames,
    )
    if partitions:
        if overlap >= partitions:
            raise typer.BadParameter(f"--overlap is {overlap}, of {partitions} partitions; slabs have to advance")
        memory = volume_bytes_needed(n_partitions=partitions, n_coils=coils, matrix=matrix)
        disk = slabs * memory
    else:
        memory, disk = bytes_needed(
            n_slices=slices + (frames - 1) * slices // multiband,
            n_coils=coils,
            matrix=matrix,
            acceleration=1 if epi else acceleration,
            n_acs_lines=acs,
        )
    # The slices of a group are held at the same time, and as they are excited.
    memory += 3 * multiband * memory // SLICES_AT_WORK if epi else 0
    require_room(file, memory_bytes=memory, disk_bytes=disk if file.suffix == ".h5" else 2 * disk)
    try:
        if partitions:
            simulate_volume(
                file,
                n_partitions=partitions,
                n_coils=coils,
                matrix=matrix,
                acceleration=(acceleration, along_partitions),
                shift=shift,
                n_acs=acs,
                elliptical=elliptical,
                n_slabs=slabs,
                overlap=overlap,
                at_random=at_random,
                n_frames=frames,
                partial_fourier=(partial_fourier, 1.0),
                seed=seed,
            )
            typer.echo(file)
            return
        with progress_bar() as show:
            make: Callable[..., None]
            if epi:
                make = partial(simulate_multiband_epi, n_frames=frames, ghost_rad=ghost)
            elif multiband > 1:
                make = partial(simulate_multiband, n_acs_lines=acs)
            else:
                make = partial(simulate_scan, n_acs_lines=acs, partial_fourier=partial_fourier)
            at_once = {"multiband": multiband, "caipi_shift": caipi_shift} if multiband > 1 else {}
            make(
                file,
                **at_once,
                n_slices=slices,
                n_coils=coils,
                matrix=matrix,
                acceleration=acceleration,
                seed=seed,
                progress=lambda fraction: show("simulating", fraction),
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(file)


def _require_together(
    *,
    is_3d: bool,
    of_3d: bool,
    at_random: bool,
    multiband: int,
    caipi_shift: int,
    partial_fourier: float,
    epi: bool,
    frames: int,
) -> None:
    """Raises BadParameter where an option of `simulate` lacks the one that it belongs to, or excludes another."""
    if of_3d and not is_3d:
        raise typer.BadParameter(
            "--along-partitions, --shift, --elliptical, --random, --slabs and --overlap are of 3-D scans; give "
            "--partitions too"
        )
    if multiband == 1 and caipi_shift > 1:
        raise typer.BadParameter("--caipi-shift is of slices that are excited at once; give --multiband too")
    if multiband > 1 and (is_3d or partial_fourier < 1):
        raise typer.BadParameter("--multiband goes with neither --partitions nor --partial-fourier; leave them out")
    if epi and multiband == 1:
        raise typer.BadParameter("--epi is of slices that are excited at once; give --multiband too")
    if at_random and partial_fourier < 1:
        raise typer.BadParameter("--random goes without --partial-fourier; leave one of them out")
    if frames > 1 and not epi and not at_random:
        raise typer.BadParameter(
            "--frames is of slices that are excited at once and read back and forth, or of 3-D scans at random; give "
            "--epi or --random too"
        )
