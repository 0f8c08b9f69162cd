"""What can be wrong with a question to a catalogue, or with what is to be added to it."""

from raki.errors import RakiError


class NoCatalogue(RakiError):
    """There is no folder or bucket of results there."""

    exit_code = 50


class QueryRefused(RakiError):
    """It isn't one SELECT, reads other things than the catalogue, or asks for a column that there isn't."""

    exit_code = 51


class UnknownSlices(RakiError):
    """Labels of scans or images that the catalogue doesn't have, or that can't be read; none of the file was taken."""

    exit_code = 52
