"""Calls that AWS refuses for the moment: what a Lambda that runs each minute does about them."""

from botocore.config import Config
from botocore.exceptions import ClientError

PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 4})
"""For clients of calls that are throttled: tried again within seconds, a few times."""

_FOR_THE_MOMENT = {
    "RequestLimitExceeded",
    "ServerException",
    "ServiceNotActiveException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}


def reason_to_wait(error: ClientError) -> str:
    """The name of a refusal that passes by itself, which the next run will find gone.

    Raises:
        ClientError: the error itself, where waiting won't help: a permission or a parameter is wrong.
    """
    code = str(error.response["Error"]["Code"])
    if code not in _FOR_THE_MOMENT:
        raise error
    return code
