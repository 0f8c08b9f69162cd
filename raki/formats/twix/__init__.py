"""Siemens twix, VB to XA."""
