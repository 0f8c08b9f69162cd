"""What an HDF5 file holds itself. Links that lead elsewhere are never followed.

Whoever opens an external link opens whatever file its name says: another patient's scan, or a pipe in which nobody
writes and which is waited for without end. Soft links lead to external ones.

HDF5 User Guide, section "Working with Links", https://support.hdfgroup.org/documentation/hdf5/latest/_h5_g__u_g.html.
"""

import h5py


def own_member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset | None:
    """The group or dataset that a hard link of the group leads to; None where there is none of that name."""
    # The link is looked at alone: `name in group` and `group.get(name)` open what it leads to.
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    member = group[name]
    return member if isinstance(member, h5py.Group | h5py.Dataset) else None


def own_dataset(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """The dataset that a hard link of the group leads to; None where there is none of that name."""
    member = own_member(group, name)
    return member if isinstance(member, h5py.Dataset) else None


def is_elsewhere(dataset: h5py.Dataset) -> bool:
    """Whether numbers of the dataset are kept in other files. To be asked first: its shape may be theirs."""
    return bool(dataset.is_virtual or dataset.external is not None)
