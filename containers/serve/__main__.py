"""Reconstructs what clients stream by ISMRMRD's protocol, until it is ended: `raki serve` in an image of its own."""

from argparse import ArgumentParser

from raki.service.log import configure
from raki.serving import Limits, Pixels, Server


def main() -> None:
    """Listens on all of the container's addresses: which of the host's lead there, the publishing of its port says."""
    usual = Limits()
    parser = ArgumentParser(prog="python -m containers.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=9002)
    parser.add_argument("--at-once", type=int, default=usual.at_once, help="clients at a time")
    parser.add_argument("--most-gb", type=float, default=usual.most_bytes / 1e9, help="the largest scan")
    parser.add_argument("--timeout", type=float, default=usual.patience_s, help="seconds for a message")
    parser.add_argument("--floats", action="store_true", help="send float32 images")
    asked = parser.parse_args()
    configure()
    limits = Limits(at_once=asked.at_once, most_bytes=int(asked.most_gb * 1e9), patience_s=asked.timeout)
    pixels = Pixels.FLOAT32 if asked.floats else Pixels.UINT16
    server = Server("0.0.0.0", asked.port, limits=limits, options={"maps": False}, pixels=pixels)  # noqa: S104
    server.end_on_signals()
    server.serve()


if __name__ == "__main__":
    main()
