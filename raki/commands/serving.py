"""`raki serve`: a server that reconstructs what clients stream."""

from typing import Annotated

import typer

from raki.commands.images import CoilsChoice, CombinationChoice, MethodChoice
from raki.commands.raw_files import CONSOLE
from raki.commands.targets import require_device

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on; the default is this machine's alone.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any that is free.")] = 9002,
    at_once: Annotated[
        int | None, typer.Option(min=1, max=64, help="Clients at a time; the next ones wait.", show_default="by cores")
    ] = None,
    most_gb: Annotated[float, typer.Option(min=0.001, help="The largest scan, on the disk, in GB.")] = 20.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a client may take for a message.")] = 60.0,
    floats: Annotated[bool, typer.Option("--floats", help="Send float32 images, as image.h5 has them.")] = False,
    method: MethodChoice = None,
    combine: CombinationChoice = None,
    coils: CoilsChoice = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
) -> None:
    """Reconstruct what clients stream, by ISMRMRD's (MRD) protocol, until Ctrl-C: raw lines in, images out.

    There is no authentication and no encryption: whoever reaches the port can use it.
    """
    from raki.service.log import configure
    from raki.serving import Limits, Pixels, Server

    require_device(device)
    configure()
    given = {"method": method and method.value, "combine": combine and combine.value, "coils": coils}
    options = {"maps": False, **{name: value for name, value in given.items() if value is not None}}
    limits = Limits(most_bytes=int(most_gb * 1e9), patience_s=timeout, **({"at_once": at_once} if at_once else {}))
    pixels = Pixels.FLOAT32 if floats else Pixels.UINT16
    try:
        server = Server(host, port, limits=limits, options=options, pixels=pixels, device=device)
    except OSError as error:
        raise typer.BadParameter(f"can't listen on {host}, port {port}: {error.strerror}; take another") from None
    server.end_on_signals()
    listening_on, listening_port = server.address
    CONSOLE.print(f"Listening on {listening_on}, port {listening_port}; no authentication.", highlight=False)
    if host not in LOOPBACK:
        CONSOLE.print("Everyone who reaches this address can use it: keep it behind a firewall.", highlight=False)
    server.serve()
