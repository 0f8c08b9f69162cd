"""Taking identity out of raw data before it leaves a site, and putting it back into the images that return.

A raw file goes out under a random token; the token map, which says whom a token stands for, stays. Images come back
under the token and get their patient again on site. The model is YarraCloud's.
"""

from pathlib import Path

from raki.errors import UnsupportedScan
from raki.formats import Format, candidates, open_raw
from raki.identity.arrays import copy_arrays
from raki.identity.header import NOTHING_OF_A_PERSON, Policy, identity_in_header
from raki.identity.ismrmrd import scrub_ismrmrd
from raki.identity.person import Identity, require_token
from raki.identity.twix import identity_in_twix, scrub_twix
from raki.whole_file import whole_file

TWIX = "Siemens twix"
ISMRMRD = ("ISMRMRD HDF5", "ISMRMRD stream")
ARRAYS = ("BART cfl", "numpy npy", "numpy npz")
"""Arrays and the meaning of their axes: nothing in such files tells of a person."""


def read_identity(source: Path) -> Identity:
    """What a raw file tells of patient, study, institution and device. For the site alone.

    Raises:
        NotAScan, DamagedScan: the file is none that raki reads, or broken.
        UnsupportedScan: a format that raki can't take the identity out of.
    """
    format_ = _format(source)
    if format_.name == TWIX:
        return identity_in_twix(source)
    if format_.name in ARRAYS:
        return Identity()
    with format_.open(source) as acquisitions:
        return identity_in_header(acquisitions.header_xml)


def deidentify(source: Path, target: Path, *, token: str, policy: Policy = NOTHING_OF_A_PERSON) -> Identity:
    """Writes a copy of a raw file without identity, of the same format and with the same samples.

    The source is only read. The target appears, or is replaced, when it is complete and was searched for what was
    taken out. Needs memory for one header and a few acquisitions. Files that are a part of the source (BART's `.cfl`)
    are written beside the target.

    Args:
        token: stands for patient and study from now on; `raki.identity.tokens.TokenMap` gives one.

    Returns:
        What was taken out; empty for formats that hold arrays alone.

    Raises:
        ValueError: the token doesn't look like one, or source and target are one file.
        NotAScan, DamagedScan: the file is none that raki reads, or broken.
        UnsupportedScan: a format that raki can't take the identity out of.
        IdentityLeft: a part of the identity stands where raki can't take it away.
    """
    require_token(token)
    if target.exists() and target.samefile(source):
        raise ValueError("source and target are the same file; raw files are never changed: name another target")
    identity = read_identity(source)
    format_ = _format(source)
    with whole_file(target, *format_.companions) as part:
        if format_.name == TWIX:
            scrub_twix(source, part, token=token, policy=policy)
        elif format_.name in ARRAYS:
            copy_arrays(source, part, format_)
        else:
            scrub_ismrmrd(source, part, format_, token=token, policy=policy)
    return identity


def _format(source: Path) -> Format:
    found, *others = candidates(source)
    if others:
        with open_raw([source]) as (found, _):
            pass
    if found.name not in (TWIX, *ISMRMRD, *ARRAYS):
        raise UnsupportedScan(
            f"raki doesn't know every place where a file of the format {found.name} names its patient; it takes the "
            f"identity out of {', '.join(ISMRMRD)} and {TWIX}: convert the scan to ISMRMRD and de-identify that"
        )
    return found
