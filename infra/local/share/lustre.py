"""FSx for Lustre: a folder stands for each file system, and linked buckets appear in it by themselves.

moto keeps the file systems; the data repository associations are kept here. The requests and answers follow botocore's
model of fsx 2018-03-01.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.account import ACCOUNT, REGION, Client
from infra.local.journal import Journal
from infra.local.moto import state
from infra.local.share.folder import ShareFolder

# All that the one kind of link does that is modelled: each of the three in time, nothing back to the bucket.
IMPORTED = {"CHANGED", "DELETED", "NEW"}
OPERATIONS = ("CreateDataRepositoryAssociation", "DescribeDataRepositoryAssociations")
MOUNT_POINT = "/fsx"

Json = dict[str, Any]


class InvalidFileSystemRequest(Exception):
    """The error that the service answers with."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def to_json(self) -> Json:
        """The body of the answer."""
        return {"__type": self.kind, "Message": str(self)}


@dataclass(frozen=True, kw_only=True)
class Association:
    """A bucket's prefix and the folder of the file system that shows it."""

    description: Json
    folder: ShareFolder


class FileSystems:
    """All file systems of the account.

    Args:
        root: the folder that holds one folder for each file system.
        connect: a boto3 client of a service of the same server.
    """

    def __init__(self, root: Path, connect: Callable[[str], Client], journal: Journal) -> None:
        self._root = root
        self._connect = connect
        self._journal = journal
        self._lock = threading.Lock()
        self._associations: dict[str, Association] = {}

    def answer(self, operation: str, request: Json) -> Json:
        """Answers one call of `OPERATIONS`.

        Raises:
            InvalidFileSystemRequest: the call is refused.
        """
        if operation == "CreateDataRepositoryAssociation":
            return {"Association": self._associate(request)}
        wanted = request.get("AssociationIds")
        with self._lock:
            found = [one.description for name, one in self._associations.items() if wanted is None or name in wanted]
        return {"Associations": found}

    def mounted(self) -> Path:
        """The folder of the file system that an instance has at /fsx.

        Raises:
            RuntimeError: there is none, or which one isn't known.
        """
        names = state.file_systems()
        if len(names) != 1:
            raise RuntimeError(
                f"a job wants the file system at {MOUNT_POINT} and {len(names)} are deployed; "
                "which one an instance mounts stands in its user data, which the local cloud doesn't run: deploy one"
            )
        folder = self._root / names[0]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def step(self) -> None:
        """Brings the linked folders in line with their buckets: what is new, changed or deleted there."""
        with self._lock:
            associations = list(self._associations.values())
        for association in associations:
            association.folder.refresh(["/"], recursive=True)

    def _associate(self, request: Json) -> Json:
        file_system, path = request["FileSystemId"], request.get("FileSystemPath", "/")
        if file_system not in state.file_systems():
            raise InvalidFileSystemRequest("FileSystemNotFound", f"the file system {file_system!r} was not found")
        _check_policy(request.get("S3", {}))
        bucket, _, prefix = request["DataRepositoryPath"].removeprefix("s3://").partition("/")
        folder = self._root / file_system / path.strip("/")
        name = f"dra-{uuid.uuid4().hex[:17]}"
        description = {key: value for key, value in request.items() if key not in ("ClientRequestToken", "Tags")} | {
            "AssociationId": name,
            "Lifecycle": "AVAILABLE",
            "ResourceARN": f"arn:aws:fsx:{REGION}:{ACCOUNT}:association/{file_system}/{name}",
        }
        with self._lock:
            if any(one.folder.path == folder for one in self._associations.values()):
                raise InvalidFileSystemRequest("BadRequest", f"{path} of {file_system} is linked already")
            self._associations[name] = Association(
                description=description,
                folder=ShareFolder(folder, bucket, prefix, self._connect("s3"), self._journal, read_only=True),
            )
        return description


def _check_policy(s3: Json) -> None:
    imported = set(s3.get("AutoImportPolicy", {}).get("Events", []))
    if imported != IMPORTED or s3.get("AutoExportPolicy"):
        raise InvalidFileSystemRequest(
            "BadRequest",
            f"an association that imports {sorted(imported)} and exports {s3.get('AutoExportPolicy') or 'nothing'}; "
            f"the local cloud models one that imports {sorted(IMPORTED)} and exports nothing",
        )
