"""The envelope in which services send their events to EventBridge."""

import uuid
from datetime import UTC, datetime
from typing import Any

from infra.local.account import ACCOUNT, REGION

Json = dict[str, Any]


def service_event(source: str, detail_type: str, resources: list[str], detail: Json) -> Json:
    """An event of now in EventBridge's envelope."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": resources,
        "detail": detail,
    }
