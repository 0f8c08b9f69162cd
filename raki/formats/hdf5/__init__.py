"""What of HDF5 files is read without the HDF5 library, and why."""
