"""A linked bucket's objects appear on the file system, change there and go, whole or not at all."""

import threading
import time

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import eventually

POLICY = {"AutoImportPolicy": {"Events": ["NEW", "CHANGED", "DELETED"]}}


@pytest.fixture(scope="module")
def file_system(cloud):
    fsx = cloud.client("fsx")
    made = fsx.create_file_system(FileSystemType="LUSTRE", StorageCapacity=1200, SubnetIds=["subnet-12345678"])
    return made["FileSystem"]["FileSystemId"]


@pytest.fixture(scope="module")
def bucket(cloud):
    cloud.client("s3").create_bucket(Bucket="linked")
    return "linked"


@pytest.fixture(scope="module")
def folder(cloud, work, file_system, bucket):
    cloud.client("fsx").create_data_repository_association(
        FileSystemId=file_system, FileSystemPath="/prepared", DataRepositoryPath=f"s3://{bucket}/scans/", S3=POLICY
    )
    return work / "fsx" / file_system / "prepared"


def test_objects_come_and_change_and_go(cloud, bucket, folder):
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="scans/a b/Größe.h5", Body=b"first")
    s3.put_object(Bucket=bucket, Key="elsewhere/b.h5", Body=b"not linked")
    file = folder / "a b" / "Größe.h5"
    eventually(lambda: file.exists() and file.read_bytes() == b"first")
    s3.put_object(Bucket=bucket, Key="scans/a b/Größe.h5", Body=b"second")
    eventually(lambda: file.read_bytes() == b"second")
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["Größe.h5"]
    s3.delete_object(Bucket=bucket, Key="scans/a b/Größe.h5")
    eventually(lambda: list(folder.iterdir()) == [])


def test_no_half_file_is_ever_seen(cloud, bucket, folder):
    sizes, stop = set(), threading.Event()

    def look():
        while not stop.is_set():
            sizes.update(path.stat().st_size for path in folder.glob("large.h5"))
            time.sleep(0.001)

    looking = threading.Thread(target=look)
    looking.start()
    cloud.client("s3").put_object(Bucket=bucket, Key="scans/large.h5", Body=bytes(30 << 20))
    eventually((folder / "large.h5").exists)
    stop.set()
    looking.join()
    assert sizes <= {30 << 20}


def test_the_association_is_described(cloud, file_system, bucket, folder):
    (found,) = cloud.client("fsx").describe_data_repository_associations()["Associations"]
    assert found["Lifecycle"] == "AVAILABLE"
    assert found["DataRepositoryPath"] == f"s3://{bucket}/scans/"
    assert found["FileSystemId"] == file_system


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"FileSystemId": "fs-00000000"}, "was not found"),
        ({"S3": {"AutoImportPolicy": {"Events": ["NEW"]}}}, "the local cloud models one that imports"),
        ({"S3": POLICY | {"AutoExportPolicy": {"Events": ["NEW"]}}}, "the local cloud models one that imports"),
        ({}, "is linked already"),
    ],
)
def test_a_link_that_is_not_modelled_is_refused(cloud, file_system, bucket, folder, changed, reason):
    asked = {"FileSystemId": file_system, "FileSystemPath": "/prepared", "DataRepositoryPath": f"s3://{bucket}"}
    with pytest.raises(ClientError, match=reason):
        cloud.client("fsx").create_data_repository_association(**asked | {"S3": POLICY} | changed)
