"""A closed file becomes an object; a growing one doesn't."""

import contextlib
import os
import time

import boto3
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.share import folder as share_module
from raki.names import is_scratch
from tests.local.conftest import eventually


def objects(cloud, outputs) -> dict[str, bytes]:
    s3, bucket = cloud.client("s3"), outputs["Raw"]
    found = {}
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        with contextlib.suppress(s3.exceptions.NoSuchKey):  # it was removed just now
            found[item["Key"]] = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
    return found


def n_versions(cloud, outputs, key: str) -> int:
    return len(cloud.client("s3").list_object_versions(Bucket=outputs["Raw"], Prefix=key).get("Versions", []))


def test_a_growing_file_is_uploaded_when_it_is_closed(cloud, outputs, share):
    # Once this has come, the operating system tells of all that is opened later.
    (share / "raw" / "first.h5").write_bytes(b"first")
    eventually(lambda: "first.h5" in objects(cloud, outputs))
    path = share / "raw" / "growing.h5"
    with path.open("wb") as scan:
        for _ in range(5):
            scan.write(b"x" * 1000)
            scan.flush()
            time.sleep(0.2)
        # Longer than a silent file would have had to be still.
        time.sleep(2.5)
        assert "growing.h5" not in objects(cloud, outputs)
    eventually(lambda: objects(cloud, outputs).get("growing.h5") == b"x" * 5000)
    eventually(lambda: n_versions(cloud, outputs, "growing.h5") == 2)  # its data and its metadata


def test_the_key_is_the_path_whatever_its_characters(cloud, outputs, share):
    folder = share / "raw" / "Prüfung 7" / "磁気共鳴 +&%"
    folder.mkdir(parents=True)
    (folder / "scan 1.tar.gz").write_bytes(b"one")
    eventually(lambda: objects(cloud, outputs).get("Prüfung 7/磁気共鳴 +&%/scan 1.tar.gz") == b"one")


def test_a_file_that_is_moved_in_is_complete_and_scratch_is_left_alone(cloud, outputs, share):
    raw = share / "raw"
    (raw / "moved.dat.part").write_bytes(b"all of it")
    for name in (".DS_Store", "._moved.dat", "~lock", "copy.TMP"):
        (raw / name).write_bytes(b"scratch")
    time.sleep(0.5)
    assert not any("moved" in key for key in objects(cloud, outputs))
    (raw / "moved.dat.part").rename(raw / "moved.dat")
    eventually(lambda: objects(cloud, outputs).get("moved.dat") == b"all of it")
    assert not set(objects(cloud, outputs)) & {".DS_Store", "._moved.dat", "~lock", "copy.TMP", "moved.dat.part"}


def test_a_changed_file_is_a_new_version_and_a_removed_one_is_hidden_with_all_of_its_versions(cloud, outputs, share):
    path = share / "raw" / "kept.dat"
    path.write_bytes(b"first")
    eventually(lambda: objects(cloud, outputs).get("kept.dat") == b"first")
    path.write_bytes(b"second")
    eventually(lambda: objects(cloud, outputs).get("kept.dat") == b"second")
    eventually(lambda: n_versions(cloud, outputs, "kept.dat") == 4)  # data and metadata, each time
    path.unlink()
    eventually(lambda: "kept.dat" not in objects(cloud, outputs))
    assert n_versions(cloud, outputs, "kept.dat") == 4


def test_a_renamed_file_is_an_object_of_its_new_name(cloud, outputs, share):
    before, after = share / "raw" / "copied.h5.part", share / "raw" / "copied.h5"
    before.write_bytes(b"all of it")
    (share / "raw" / "earlier.dat").write_bytes(b"same")
    eventually(lambda: n_versions(cloud, outputs, "earlier.dat") == 2)
    before.rename(after)
    (share / "raw" / "earlier.dat").rename(share / "raw" / "later.dat")
    eventually(lambda: {"copied.h5", "later.dat"} <= set(objects(cloud, outputs)))
    eventually(lambda: not {"copied.h5.part", "earlier.dat"} & set(objects(cloud, outputs)))
    assert n_versions(cloud, outputs, "earlier.dat") == 2


names = st.text(st.characters(codec="utf-8"), max_size=20) | st.lists(
    st.sampled_from(["..", ".", "", "a", "\0", "b c"]), max_size=5
).map("/".join)


@settings(deadline=None, derandomize=True)
@given(names)
def test_no_key_leads_out_of_the_share(name):
    if share_module._is_file_name(name):
        path = os.path.normpath(f"/share/results/{name}")
        assert path.startswith("/share/results/")
        assert "\0" not in name


@settings(deadline=None, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_characters="/.~\0"), min_size=1))
def test_ordinary_names_are_never_taken_for_scratch(stem):
    path = share_module.Path("exam") / f"{stem}.h5"
    assert not is_scratch(path.as_posix())


def test_a_change_of_rights_is_a_new_version_of_the_same_bytes(cloud, outputs, share):
    path = share / "raw" / "rights.dat"
    path.write_bytes(b"same")
    eventually(lambda: n_versions(cloud, outputs, "rights.dat") == 2)
    path.chmod(0o600)
    eventually(lambda: n_versions(cloud, outputs, "rights.dat") == 3)
    s3, place = cloud.client("s3"), {"Bucket": outputs["Raw"], "Key": "rights.dat"}
    versions = s3.list_object_versions(Bucket=outputs["Raw"], Prefix="rights.dat")["Versions"]
    heads = [s3.head_object(**place, VersionId=one["VersionId"], ChecksumMode="ENABLED") for one in versions]
    assert len({head["ETag"] for head in heads}) == 3, "as under SSE-KMS, they say nothing of the content"
    assert len({head["ChecksumCRC64NVME"] for head in heads}) == 1
    assert s3.head_object(**place)["Metadata"]["file-permissions"] == "0600"


def test_what_comes_without_a_checksum_gets_one_of_all_of_it(cloud, outputs):
    s3 = cloud.client("s3")
    without = boto3.client(
        "s3",
        config=Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}),
        endpoint_url=cloud.endpoint,
    )
    without.put_object(Bucket=outputs["Raw"], Key="without.bin", Body=b"123456789")
    head = s3.head_object(Bucket=outputs["Raw"], Key="without.bin", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == "rosUhgp5mIg="
