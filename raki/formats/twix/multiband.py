"""Slices that a Siemens sequence excited at once (simultaneous multi-slice): how many, as far as it tells."""

from raki.formats.twix.protocol import Protocol

PRODUCT = "sSliceAcceleration.lMultiBandFactor"
# The sequences of CMRR, Minnesota (cmrr_mbep2d_bold and others), leave that at 1 and keep theirs among the sequence's
# own numbers. Elsewhere these mean something else.
CMRR = "cmrr_mb"
CMRR_SET = ("sWipMemBlock.alFree[13]", "sWiPMemBlock.alFree[13]")
CMRR_DERIVED, CMRR_PLACE = "alICEProgramPara", 11
MOST_BANDS = 32


def slices_at_once(protocol: Protocol) -> tuple[int, str]:
    """How many, 1 where the protocol is silent, and where it says so."""
    found = [(protocol.count(PRODUCT), PRODUCT)]
    if CMRR in (protocol.word("tSequenceFileName") or "").lower():
        found += [(protocol.count(name), name) for name in CMRR_SET]
        derived = protocol.derived_numbers(CMRR_DERIVED)
        if len(derived) > CMRR_PLACE:
            found.append((int(derived[CMRR_PLACE]), f"{CMRR_DERIVED}[{CMRR_PLACE}]"))
    return next(((n, name) for n, name in found if 2 <= n <= MOST_BANDS), (1, PRODUCT))


def refusal_of_sums(protocol: Protocol) -> str | None:
    """Why no image is made of lines that are sums of slices, as twix has them; None where each was excited alone."""
    n_bands, name = slices_at_once(protocol)
    if n_bands == 1:
        return None
    return (
        f"the scan excites {n_bands} slices at once (multiband; {name} in its protocol), and a twix file doesn't say "
        "in one way for all sequences where they lie, by what phase they differ and whether their single-band reference"
        " has it too; raki reads such scans as ISMRMRD: convert it with siemens_to_ismrmrd, and see that the header has"
        " the element multiband (multiband_factor, dZ of each slice in mm, deltaKz in cycles per mm)"
    )
