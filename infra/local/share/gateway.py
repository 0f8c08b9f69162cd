"""The Storage Gateway service: file shares on buckets, and RefreshCache with the limits that the real call has.

moto doesn't have this service. The requests and answers follow botocore's model of storagegateway 2013-06-30; what
that model's documentation of RefreshCache says of limits is enforced here.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from infra.local.account import ACCOUNT, REGION
from infra.local.envelope import service_event
from infra.local.journal import Journal
from infra.local.share.folder import ShareFolder
from infra.local.share.uploads import UploadNotices

MAX_FOLDERS = 50
MAX_IN_PROGRESS = 2
REFRESH_SPACING_S = 60.0

Json = dict[str, Any]
EventSink = Callable[[Json], None]


class InvalidGatewayRequest(Exception):
    """The error that the service answers with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def to_json(self) -> Json:
        """The body of the answer."""
        return {
            "__type": "InvalidGatewayRequestException",
            "message": str(self),
            "error": {"errorCode": self.code, "errorDetails": {}},
        }


@dataclass(frozen=True, kw_only=True)
class FileShare:
    """A file share as it was asked for, and the folder that stands for it."""

    arn: str
    kind: str
    """NFS or SMB."""
    request: Json
    folder: ShareFolder

    def describe(self) -> Json:
        """The share's entry in DescribeNFSFileShares and DescribeSMBFileShares."""
        asked = {name: value for name, value in self.request.items() if name != "ClientToken"}
        return {
            **asked,
            "FileShareARN": self.arn,
            "FileShareId": self.arn.rpartition("/")[2],
            "FileShareStatus": "AVAILABLE",
            "Path": f"/{self.folder.path.name}",
        }


class StorageGateway:
    """All gateways of the account: whichever ARN a share names is a gateway that exists.

    Args:
        shares: the folder that holds one folder for each share.
        connect_as: a boto3 client of S3 on the same server that acts in a role, by the role's ARN.
        fire: takes the completion events, in EventBridge's form.
        spacing_s: the least time between two RefreshCache calls to one gateway.
        two_versions: whether each file becomes two versions.
        uploads: told of the files that the shares upload.
    """

    def __init__(
        self,
        shares: Path,
        connect_as: Callable[[str], Any],
        fire: EventSink,
        journal: Journal,
        *,
        spacing_s: float = REFRESH_SPACING_S,
        two_versions: bool = False,
        uploads: UploadNotices,
    ) -> None:
        self._root = shares
        self._connect_as = connect_as
        self._fire = fire
        self._journal = journal
        self._spacing_s = spacing_s
        self._two_versions = two_versions
        self._uploads = uploads
        self._lock = threading.Lock()
        self._shares: dict[str, FileShare] = {}
        self._in_progress: dict[str, int] = {}
        self._last_refresh: dict[str, float] = {}

    def answer(self, operation: str, request: Json) -> Json:
        """Answers one call.

        Raises:
            InvalidGatewayRequest: the call is refused.
        """
        operations: Mapping[str, Callable[[Json], Json]] = {
            "CreateNFSFileShare": lambda body: self._create("NFS", body),
            "CreateSMBFileShare": lambda body: self._create("SMB", body),
            "DescribeNFSFileShares": lambda body: {"NFSFileShareInfoList": self._describe("NFS", body)},
            "DescribeSMBFileShares": lambda body: {"SMBFileShareInfoList": self._describe("SMB", body)},
            "ListFileShares": self._list,
            "RefreshCache": self._refresh_cache,
        }
        if operation not in operations:
            raise InvalidGatewayRequest("NotImplemented", f"{operation} is not modelled by the local cloud")
        return operations[operation](request)

    @property
    def writable_folders(self) -> list[ShareFolder]:
        """The folders whose new files become objects."""
        with self._lock:
            return [share.folder for share in self._shares.values() if not share.request.get("ReadOnly", False)]

    def _create(self, kind: str, request: Json) -> Json:
        bucket, _, prefix = request["LocationARN"].partition(":::")[2].partition("/")
        name = request.get("FileShareName") or bucket
        arn = f"arn:aws:storagegateway:{REGION}:{ACCOUNT}:share/share-{uuid.uuid4().hex[:8].upper()}"
        s3 = self._connect_as(request["Role"])
        with self._lock:
            if any(share.folder.path.name == name for share in self._shares.values()):
                raise InvalidGatewayRequest("InvalidParameters", f"a file share named {name!r} exists already")
            read_only = bool(request.get("ReadOnly", False))
            folder = ShareFolder(
                self._root / name,
                bucket,
                prefix,
                s3,
                self._journal,
                read_only=read_only,
                two_versions=self._two_versions,
                uploaded=partial(self._uploads.uploaded, arn, request),
            )
            self._shares[arn] = FileShare(arn=arn, kind=kind, request=request, folder=folder)
        return {"FileShareARN": arn}

    def _describe(self, kind: str, request: Json) -> list[Json]:
        shares = [self._share(arn) for arn in request["FileShareARNList"]]
        return [share.describe() for share in shares if share.kind == kind]

    def _list(self, request: Json) -> Json:
        gateway = request.get("GatewayARN")
        with self._lock:
            shares = [share for share in self._shares.values() if gateway in (None, share.request["GatewayARN"])]
        return {
            "FileShareInfoList": [
                {
                    "FileShareARN": share.arn,
                    "FileShareId": share.arn.rpartition("/")[2],
                    "FileShareStatus": "AVAILABLE",
                    "FileShareType": share.kind,
                    "GatewayARN": share.request["GatewayARN"],
                }
                for share in shares
            ]
        }

    def _refresh_cache(self, request: Json) -> Json:
        share = self._share(request.get("FileShareARN", ""))
        folders = request.get("FolderList", ["/"])
        _check_folders(folders)
        gateway = share.request["GatewayARN"]
        with self._lock:
            self._check_rate(gateway)
            self._last_refresh[gateway] = time.monotonic()
            self._in_progress[gateway] = self._in_progress.get(gateway, 0) + 1
        notification_id = str(uuid.uuid4())
        recursive = request.get("Recursive", True)
        threading.Thread(
            target=self._refresh, args=(share, folders, recursive, notification_id), name="RefreshCache", daemon=True
        ).start()
        return {"FileShareARN": share.arn, "NotificationId": notification_id}

    def _check_rate(self, gateway: str) -> None:
        if self._in_progress.get(gateway, 0) >= MAX_IN_PROGRESS:
            raise InvalidGatewayRequest(
                "ServiceUnavailable",
                f"{MAX_IN_PROGRESS} refreshes of this gateway are in progress, all that it takes: wait for one to end",
            )
        waited_s = time.monotonic() - self._last_refresh.get(gateway, float("-inf"))
        if waited_s < self._spacing_s:
            raise InvalidGatewayRequest(
                "ServiceUnavailable",
                f"the last RefreshCache of this gateway was {waited_s:.1f} s ago; "
                f"{self._spacing_s:.1f} s are needed between two",
            )

    def _refresh(self, share: FileShare, folders: list[str], recursive: bool, notification_id: str) -> None:
        received = datetime.now(UTC)
        try:
            n_changed = share.folder.refresh(folders, recursive=recursive)
            self._journal.note("RefreshCache", f"{share.folder.path.name}: {', '.join(folders)}: {n_changed} changed")
        except Exception as error:  # noqa: BLE001 - the refresh ends either way, and the next one may do better
            self._journal.note("error", f"RefreshCache of {share.folder.path.name}: {error!r}")
        finally:
            with self._lock:
                self._in_progress[share.request["GatewayARN"]] -= 1
        self._fire(_refresh_complete(share, folders, notification_id, received))

    def _share(self, arn: str) -> FileShare:
        with self._lock:
            if arn not in self._shares:
                raise InvalidGatewayRequest("InvalidParameters", f"the file share {arn!r} was not found")
            return self._shares[arn]


def _check_folders(folders: list[str]) -> None:
    if not 1 <= len(folders) <= MAX_FOLDERS:
        raise InvalidGatewayRequest(
            "InvalidParameters", f"FolderList has {len(folders)} entries; 1 to {MAX_FOLDERS} are allowed"
        )
    for folder in folders:
        if not 1 <= len(folder) <= 1024:
            raise InvalidGatewayRequest(
                "InvalidParameters", f"a folder of {len(folder)} characters; 1 to 1024 are allowed"
            )
        if folder != "/" and folder.endswith("/"):
            raise InvalidGatewayRequest("InvalidParameters", f"the folder {folder!r} ends in '/': leave that out")


def _refresh_complete(share: FileShare, folders: list[str], notification_id: str, received: datetime) -> Json:
    """The EventBridge event of a finished refresh.

    S3 File Gateway user guide, "Getting notified about file operations".
    """
    detail = {
        "event-type": "refresh-complete",
        "notification-id": notification_id,
        "request-received": received.isoformat(),
        "completed": datetime.now(UTC).isoformat(),
        "folderList": folders,
    }
    resources = [share.arn, share.request["GatewayARN"]]
    return service_event("aws.storagegateway", "Storage Gateway Refresh Cache Event", resources, detail)
