"""Reconstruct what a client streams: ISMRMRD's messages in over a connection, images and texts out on the same one."""

from raki.serving.images import Pixels
from raki.serving.server import Limits, Server

__all__ = ["Limits", "Pixels", "Server"]
