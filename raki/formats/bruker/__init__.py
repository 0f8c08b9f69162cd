"""Bruker's raw data as ParaVision stores an experiment: `fid` or `rawdata.job0`, and lists of parameters."""
