"""`raki send`: the images of a result to a picture archive (PACS)."""

from pathlib import Path
from typing import Annotated

import typer

from raki.commands.operating import NotInstalled


def send(
    result: Annotated[Path, typer.Argument(exists=True, help="manifest.json of a result, or its folder.")],
    to: Annotated[str, typer.Option(help="The archive: AETITLE@HOST:PORT.")],
    calling: Annotated[str, typer.Option(help="Our own AE title, as the archive knows it.")] = "RAKI",
    single: Annotated[
        bool, typer.Option("--single", help="The images of a slice each, of --dicom, instead of the files of all.")
    ] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypted; the archive's certificate is checked.")] = False,
    trusted: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Certificates (PEM) to check it by; implies --tls.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Our own certificate (PEM); implies --tls.")
    ] = None,
    key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Its private key (PEM).")] = None,
) -> None:
    """Send a result's DICOM images to a picture archive (PACS), as a scanner does: C-STORE.

    Sent again they have the same UIDs. Files that aren't as the result's manifest says are not sent.
    """
    from raki.destination import Destination
    from raki.results.reproduction import read_result

    try:
        from raki.results.sending import send as send_files
        from raki.results.sending import tls_context
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pynetdicom":
            raise
        raise NotInstalled("this needs the package pynetdicom: pip install 'raki-mri[pacs]'") from None
    try:
        encrypted = tls or trusted or certificate or key
        context = tls_context(trusted=trusted, certificate=certificate, key=key) if encrypted else None
        destination = Destination.parse(to, calling=calling, tls=context)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None
    files = read_result(result).dicom_files(single=single)
    send_files(files, destination, progress=lambda sent: typer.echo(f"{sent.path.name}: {sent.words}"))
