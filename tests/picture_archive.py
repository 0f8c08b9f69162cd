"""A picture archive in a thread: pynetdicom's own server."""

from contextlib import contextmanager

from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt

KINDS = (EnhancedMRImageStorage, MRImageStorage)
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


class Archive:
    """Keeps what it is sent, the first of each UID."""

    def __init__(self, answers=()):
        self.kept, self.callers, self._answers = {}, [], iter(answers)
        self.port = 0

    def store(self, event):
        answer = next(self._answers, None)
        if callable(answer):
            return answer(event)
        image = event.dataset
        image.file_meta = event.file_meta
        is_new = image.SOPInstanceUID not in self.kept
        self.kept.setdefault(image.SOPInstanceUID, image)
        self.callers.append(event.assoc.requestor.ae_title)
        return (0x0000 if is_new else 0x0111) if answer is None else answer

    @property
    def destination(self):
        return f"ARCHIVE@127.0.0.1:{self.port}"


@contextmanager
def running(
    archive, *, kinds=KINDS, syntaxes=SYNTAXES, known_callers=(), tls=None, port=0, largest_pdu=None, received=None
):
    entity = AE("ARCHIVE")
    entity.require_called_aet = True
    entity.require_calling_aet = list(known_callers)
    for kind in kinds:
        entity.add_supported_context(kind, list(syntaxes))
    if largest_pdu is not None:
        entity.maximum_pdu_size = largest_pdu
    handlers = [(evt.EVT_C_STORE, archive.store), *([(evt.EVT_DATA_RECV, received)] if received else [])]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    archive.port = server.socket.getsockname()[1]
    try:
        yield archive
    finally:
        server.shutdown()
