"""A client of the streaming server, from the ismrmrd package's own serialisation and a plain socket."""

import io
import socket
import struct
from dataclasses import dataclass, field

import ismrmrd
import numpy as np

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT, ACQUISITION, IMAGE, WAVEFORM = 1, 2, 3, 4, 5, 1008, 1022, 1026


def text(kind: int, content: str) -> bytes:
    """As C writes it, with a zero at the end."""
    return struct.pack("<HI", kind, len(content) + 1) + content.encode() + b"\0"


def config_file(name: str) -> bytes:
    return struct.pack("<H1024s", CONFIG_FILE, name.encode())


def serialised(kind: int, thing) -> bytes:
    written = io.BytesIO(struct.pack("<H", kind))
    written.seek(2)
    thing.serialize_into(written.write)
    return written.getvalue()


def messages(path, keep=lambda acquisition: True) -> list[bytes]:
    """The header, a waveform and the acquisitions of an ISMRMRD file."""
    with ismrmrd.Dataset(path, mode="r") as dataset:
        header = text(HEADER, dataset.read_xml_header().decode())
        lines = [dataset.read_acquisition(index) for index in range(dataset.number_of_acquisitions())]
    waveform = ismrmrd.Waveform.from_array(np.zeros((2, 9), np.uint32))
    return [header, serialised(WAVEFORM, waveform), *(serialised(ACQUISITION, one) for one in lines if keep(one))]


@dataclass
class Answer:
    images: list[ismrmrd.Image] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    closed: bool = False


class Client:
    def __init__(self, address) -> None:
        self.socket = socket.create_connection(address, timeout=120)

    def send(self, *messages: bytes) -> "Client":
        self.socket.sendall(b"".join(messages))
        return self

    def close(self) -> "Client":
        return self.send(struct.pack("<H", CLOSE))

    def answer(self) -> Answer:
        """All that comes, until the server ends the connection."""
        answer = Answer()
        with self.socket, self.socket.makefile("rb") as stream:
            while head := stream.read(2):
                (kind,) = struct.unpack("<H", head)
                if kind == CLOSE:
                    answer.closed = True
                elif kind == TEXT:
                    (length,) = struct.unpack("<I", stream.read(4))
                    answer.texts.append(stream.read(length).decode())
                else:
                    assert kind == IMAGE
                    answer.images.append(ismrmrd.Image.deserialize_from(stream.read))
        return answer
