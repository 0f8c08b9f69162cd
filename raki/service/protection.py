"""Keeps ECS from stopping a worker that has a scan in hand, be it to scale in or to deploy.

Amazon ECS Developer Guide, "Task scale-in protection endpoint". It is no shield against the end of a spot instance, nor
against StopTask: a worker that is stopped gives its scan back all the same.
"""

import json
import logging
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

LOG = logging.getLogger("raki.protection")

EXPIRES_MINUTES = 30
"""How long a worker that has hung up can hold up a deployment."""
RENEW_AFTER_S = EXPIRES_MINUTES * 60 / 2
RETRY_AFTER_S = 60
TIMEOUT_S = 6.0
"""The agent gives ECS four seconds to answer."""

# The agent's address is link-local: whatever proxy is set, it can't be reached through it.
_OPENER = build_opener(ProxyHandler({}))


class Protection:
    """The protection of the task that this process is in, asked for at the agent.

    ECS limits how often it may be asked for: a worker holds its protection while scan follows scan, and gives it up
    when there is none. A refusal is logged, and that is all that comes of it.

    Args:
        agent_uri: what ECS puts into ECS_AGENT_URI; None where there is no agent and nothing to be protected from.
        timeout_s: how long the agent may take to answer.
    """

    def __init__(self, agent_uri: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = f"{agent_uri}/task-protection/v1/state" if agent_uri else None
        self._timeout_s = timeout_s
        self._held_since_s: float | None = None
        self._ask_again_s = 0.0

    def hold(self) -> None:
        """Asks for protection, if there is none; renews it, if half of it is over."""
        now_s = time.monotonic()
        if self._url is None or now_s < self._ask_again_s:
            return
        granted = self._put({"ProtectionEnabled": True, "ExpiresInMinutes": EXPIRES_MINUTES})
        self._ask_again_s = now_s + (RENEW_AFTER_S if granted else RETRY_AFTER_S)
        if self._held_since_s is None:
            # Also after a refusal: an answer that came too late may have been a yes, and is to be taken back.
            self._held_since_s = now_s

    def give_up(self) -> bool:
        """Lets ECS stop the task; False where it refuses even that, and then the next call tries again."""
        if self._held_since_s is None:
            return True
        if not self._put({"ProtectionEnabled": False}):
            return False
        self._held_since_s = None
        self._ask_again_s = 0.0
        return True

    @property
    def is_long_held(self) -> bool:
        """Whether it was held for so long that a deployment may be waiting for this task."""
        return self._held_since_s is not None and time.monotonic() - self._held_since_s > RENEW_AFTER_S

    def _put(self, wanted: dict[str, Any]) -> bool:
        refusal = self._refusal(wanted)
        if refusal:
            LOG.warning("protection refused", extra={"wanted": wanted["ProtectionEnabled"], "reason": refusal})
        else:
            LOG.info("protected" if wanted["ProtectionEnabled"] else "no longer protected")
        return not refusal

    def _refusal(self, wanted: dict[str, Any]) -> str | None:
        """Puts the wanted state; why it isn't the task's state now, or None."""
        assert self._url is not None
        body, headers = json.dumps(wanted).encode(), {"Content-Type": "application/json"}
        try:
            request = Request(self._url, body, headers, method="PUT")  # noqa: S310 - the address is ECS's own
            with _OPENER.open(request, timeout=self._timeout_s) as response:
                answer = json.load(response)
            if answer.get("protection", {}).get("ProtectionEnabled") is wanted["ProtectionEnabled"]:
                return None
            return str(answer["failure"]["Reason"])
        except HTTPError as error:
            return _error_code(error)
        except (OSError, HTTPException) as error:
            return type(getattr(error, "reason", error)).__name__  # urllib wraps what happened
        except (AttributeError, LookupError, TypeError, ValueError):
            return "answer not understood"


def _error_code(error: HTTPError) -> str:
    """The agent's name for an error, such as ThrottlingException."""
    try:
        with error:
            return str(json.load(error)["error"]["Code"])
    except (LookupError, OSError, HTTPException, TypeError, ValueError):
        return f"HTTP status {error.code}"
