"""A picture archive's address in a DICOM network: application entity, host and port.

DICOM PS3.5, section 6.2 (the value representation AE); PS3.8, section 9 (DICOM upper layer over TCP).
"""

import re
import ssl
from dataclasses import dataclass

CALLING = "RAKI"
AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
DESTINATION = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\s/]+):(?P<port>\d{1,5})")


def require_title(title: str) -> str:
    """The title, where it can be one of an application entity.

    Raises:
        ValueError: it can't.
    """
    if not AE_TITLE.fullmatch(title) or not title.strip():
        raise ValueError(f"{title!r} is no AE title; it has 1 to 16 characters of ASCII and no backslash")
    return title


@dataclass(frozen=True, kw_only=True)
class Destination:
    """An archive, and as whom it is called. Raises ValueError where a title or the port can't be one."""

    title: str
    """Its application entity."""
    host: str
    port: int
    calling: str = CALLING
    tls: ssl.SSLContext | None = None
    """None: in clear text, which belongs on a hospital's own network alone."""

    def __post_init__(self) -> None:
        for title in (self.title, self.calling):
            require_title(title)
        if not 0 < self.port < 65536:
            raise ValueError(f"{self.port} is no port; it is a number from 1 to 65535")

    @classmethod
    def parse(cls, text: str, *, calling: str = CALLING, tls: ssl.SSLContext | None = None) -> "Destination":
        """`AETITLE@HOST:PORT`, an IPv6 address in brackets.

        Raises:
            ValueError: it isn't of that form.
        """
        found = DESTINATION.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is no AETITLE@HOST:PORT, as ARCHIVE@pacs.example:11112")
        host = found["host"].strip("[]")
        return cls(title=found["title"], host=host, port=int(found["port"]), calling=calling, tls=tls)

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"
