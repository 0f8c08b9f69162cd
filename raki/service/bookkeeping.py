"""What is remembered beside the scans: items of the ledger's table whose keys begin with `#`."""

import time

from botocore.client import BaseClient

from raki.service.table import Table

EXPIRES_AT = "expires_at"
"""The attribute that says from when DynamoDB may remove an item, in seconds since 1970. Amazon DynamoDB Developer
Guide, "Using time to live (TTL) in DynamoDB"."""
JOBS_KEPT_S = 86400
"""Longer than any job runs."""
NEWER = "attribute_not_exists(seen_at) OR #seen_at <= :now"


class Bookkeeping:
    """Raises botocore's ClientError where DynamoDB refuses."""

    def __init__(self, client: BaseClient, table: str) -> None:
        self._table = Table(client, table)

    def count_quiet_poll(self, name: str, *, quiet: bool) -> int:
        """How often in a row, this time included, the poller `name` found nothing to do."""
        return self._table.count(f"#quiet:{name}", up=quiet)

    def note_alive(self, job_id: str) -> None:
        """Remembers that a job got on just now."""
        key, now_s = f"#job:{job_id}", int(time.time())
        lasting = {"seen_at": now_s, EXPIRES_AT: now_s + JOBS_KEPT_S}
        self._table.update(key, lasting, condition=NEWER, values={":now": now_s})

    def last_alive_s(self, job_id: str) -> int:
        """When a job last got on, in seconds since 1970; 0 if it never said so."""
        item = self._table.get(f"#job:{job_id}")
        return int(item["seen_at"]) if item else 0

    def is_shown(self, folder: str) -> bool:
        """Whether the gateway was asked to look at this folder of the share before, so that it knows the folder."""
        return not folder or self._table.get(f"#shown:{folder}") is not None

    def note_shown(self, folder: str) -> None:
        """Remembers that the gateway has been asked to look at the folder, or at one above it."""
        item = {"scan_id": f"#shown:{folder}"}
        self._table.put(item, condition="attribute_not_exists(scan_id)", values={})

    def take_turn(self, name: str, *, for_s: int) -> bool:
        """Lets one at a time have its turn at `name`; False while another one has, which ends by itself."""
        now_s = int(time.time())
        return self._table.put(
            {"scan_id": f"#turn:{name}", "until": now_s + for_s},
            condition="attribute_not_exists(scan_id) OR #until <= :now",
            values={":now": now_s},
        )

    def end_turn(self, name: str) -> None:
        """Lets the next one have its turn."""
        self._table.replace({"scan_id": f"#turn:{name}", "until": 0})

    def keep(self, name: str, text: str) -> None:
        """Keeps what one call of a Lambda leaves to the next, or a worker is to know."""
        self._table.replace({"scan_id": f"#kept:{name}", "text": text})

    def kept(self, name: str) -> str | None:
        """What was kept last under this name."""
        item = self._table.get(f"#kept:{name}")
        return str(item["text"]) if item else None
