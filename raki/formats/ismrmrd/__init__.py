"""ISMRMRD (MRD): its header, and its files in HDF5 and as a stream."""
