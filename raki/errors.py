"""Everything that can go wrong with a scan, sorted by what a caller does about it.

A permanent error is the scan's own fault: trying again gives the same answer, so the service reports
it beside the result and stops. A transient error is the surroundings' fault: the message goes back to
the queue. The exit code carries the difference out of a container and off the command line.
"""

from typing import ClassVar

from raki.wording import LONGEST_SENTENCE, plain


class RakiError(Exception):
    """Base of all errors that a user is meant to read: one clear sentence, never a traceback.

    Words of a file may stand in it. They are made plain here, and nowhere else.
    """

    exit_code: ClassVar[int] = 1
    retry: ClassVar[bool] = False
    outcome: ClassVar[str] = "failed"
    """What the metrics count it as; only what has failed is alarming."""

    def __init__(self, text: str = "") -> None:
        super().__init__(plain(text, LONGEST_SENTENCE - len(".")))

    @property
    def failure_class(self) -> str:
        """The short name that the ledger, `error.json` and the metrics carry."""
        return type(self).__name__

    @property
    def sentence(self) -> str:
        """What happened, as a person reads it: from a capital letter to a full stop."""
        text = str(self)
        return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


class PermanentError(RakiError):
    """The scan can't be reconstructed, however often it is tried."""


class NotAScan(PermanentError):
    """The file holds no MRI raw data in a format that raki reads; an empty file is one."""

    exit_code = 10


class NoiseAlone(NotAScan):
    """A noise or calibration scan without its image: sound, of use beside that, and nothing to be alarmed by."""

    exit_code = 24
    outcome = "noted"


class DamagedScan(PermanentError):
    """The format was recognised, but the content is truncated or contradicts itself."""

    exit_code = 11


class UnsupportedScan(PermanentError):
    """A sound scan of a kind that raki doesn't reconstruct: its sampling, trajectory or dimensions."""

    exit_code = 12


class NoCalibration(PermanentError):
    """The scan is undersampled and has too few fully sampled lines (ACS) to calibrate on."""

    exit_code = 13


class UnsafeArchive(PermanentError):
    """An archive with links, devices, paths outside itself, or beyond the limits on size and count."""

    exit_code = 14


class WorkerLost(PermanentError):
    """The scan was given up: on every attempt its worker was lost or ran into an error of its own."""

    exit_code = 15


class Superseded(PermanentError):
    """A newer version of the same file was dropped; its result stands in the folder."""

    exit_code = 16
    outcome = "superseded"


class OutageTooLong(PermanentError):
    """The scan was given up: whatever it needs of its surroundings failed in hundreds of tries over many hours."""

    exit_code = 21


class Removed(Superseded):
    """The file was removed before it could be read; no version of it stands there any more."""


class Cancelled(PermanentError):
    """An operator ended the scan's way through the service."""

    exit_code = 25
    outcome = "cancelled"
    """No alarm's matter, and in no metric: operators' commands write none."""


class StoodStill(PermanentError):
    """The scan was given up: it stood still again and again, with nobody at work on it and no message left."""

    exit_code = 22


class TooLarge(PermanentError):
    """A sound scan, or a result, that takes more memory or disk than the machine has that is to work on it."""

    exit_code = 23


class WrongOptions(PermanentError):
    """The scan's own `raki.toml` asks for something that raki doesn't know or that doesn't fit the scan."""

    exit_code = 20


class BrokenPlugin(PermanentError):
    """A method that another package adds can't be used, or fails on the scan; those of raki itself are no such."""

    exit_code = 26


class ModelMismatch(PermanentError):
    """The model that was asked for is for other coils, another lattice or another place than the scan's."""

    exit_code = 27


class BadModel(PermanentError):
    """A model doesn't fit its digest or its schema, lacks tensors, asks for code, or leads out of its folder."""

    exit_code = 28


class NoSuchModel(BadModel):
    """The store has no model, or no version of it, by the name that was asked for."""

    exit_code = 29


class TransientError(RakiError):
    """The surroundings failed (a network, a full disk, a busy service); the same scan may well succeed later."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h
    retry = True


class ProcessLost(TransientError):
    """A process was ended from outside while it worked on the scan, as one is that takes all memory: each time."""
