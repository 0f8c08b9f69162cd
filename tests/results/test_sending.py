"""A result reaches a picture archive whole, or a sentence says why not; pynetdicom's own server is the archive."""

import gc
import re
import shutil
import socket
import ssl
import sys
import time
import tracemalloc
from contextlib import suppress
from threading import Event, Thread

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import _config

import raki.results.sending
from raki.commands.operating import NotInstalled
from raki.destination import Destination
from raki.errors import TooLarge
from raki.options import choose
from raki.results import Source, write_results
from raki.results.reproduction import DamagedResult
from raki.results.sending import PacsBusy, PacsRefused, PacsUnreachable, send, tls_context
from tests.certificates import certify
from tests.picture_archive import SYNTAXES, Archive, running
from tests.results.example_reconstruction import example_reconstruction

# pynetdicom leaves a socket to the garbage collector where no connection came about.
pytestmark = pytest.mark.filterwarnings("ignore:.*[sS]ocket fd:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_open():
    """What is left is collected where its warning is expected, and not in some later test."""
    yield
    gc.collect()


@pytest.fixture
def archive():
    with running(Archive()) as archive:
        yield archive


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A result with maps as series, and single images."""
    folder = tmp_path_factory.mktemp("results") / "out"
    write_results(
        example_reconstruction(),
        folder,
        source=Source(name="scan.h5", sha256="ab", n_bytes=1),
        chosen=choose({"command line": {"quantities": True}}),
        quantities=True,
        single_dicoms=True,
    )
    return folder


@pytest.fixture
def result(made, tmp_path):
    return shutil.copytree(made, tmp_path / "result")


def files_of(result):
    return sorted(result.glob("*.dcm"))


def same(kept, path):
    original = pydicom.dcmread(path)
    np.testing.assert_array_equal(kept.pixel_array, original.pixel_array)
    return {element.tag: element.value for element in kept} == {element.tag: element.value for element in original}


@pytest.mark.parametrize("syntaxes", [SYNTAXES, (ImplicitVRLittleEndian,)], ids=["both", "implicit only"])
def test_an_archive_has_what_stands_in_the_folder(run, result, syntaxes):
    with running(Archive(), syntaxes=syntaxes) as archive:
        code, said, _ = run("send", result, "--to", archive.destination, "--calling", "MR1")
    assert code == 0
    assert set(said.splitlines()) == {f"{path.name}: stored" for path in files_of(result)}
    assert "image.dcm: stored" in said.splitlines()
    assert "snr.dcm: stored" in said.splitlines()
    assert set(archive.callers) == {"MR1"}
    for path in files_of(result):
        assert same(archive.kept[pydicom.dcmread(path).SOPInstanceUID], path)


def test_what_is_sent_again_is_known_and_kept_once(run, result, archive):
    run("send", result, "--to", archive.destination)
    kept = dict(archive.kept)
    code, said, _ = run("send", result / "manifest.json", "--to", archive.destination)
    assert code == 0
    assert set(said.splitlines()) == {f"{path.name}: was there already" for path in files_of(result)}
    assert archive.kept == kept


def test_single_images_go_to_an_archive_that_takes_no_others(run, result):
    with running(Archive(), kinds=[MRImageStorage]) as archive:
        code, _, why = run("send", result, "--to", archive.destination)
        assert code == PacsRefused.exit_code
        assert "doesn't take Enhanced MR Image Storage" in why
        assert not archive.kept
        code, said, _ = run("send", result, "--to", archive.destination, "--single")
    assert code == 0
    assert said.splitlines() == [f"slice_{number:04d}.dcm: stored" for number in (1, 2, 3)]


def test_an_archive_that_is_not_there_is_unreachable(run, result):
    with running(Archive()) as gone:
        port = gone.port
    code, _, why = run("send", result, "--to", f"ARCHIVE@127.0.0.1:{port}")
    assert code == PacsUnreachable.exit_code
    assert "There is no connection to ARCHIVE@127.0.0.1" in why
    assert PacsUnreachable.retry


def test_a_name_that_nobody_knows_is_unreachable(run, result):
    code, _, why = run("send", result, "--to", "ARCHIVE@pacs.invalid:104")
    assert code == PacsUnreachable.exit_code
    assert "no connection to ARCHIVE@pacs.invalid:104" in why


def test_processing_that_failed_is_worth_another_try(result):
    with running(Archive([0x0110])) as archive, pytest.raises(PacsBusy, match="0x0110"):
        send(files_of(result)[:1], Destination.parse(archive.destination))


def test_a_large_file_has_more_time_than_a_small_one(result, monkeypatch):
    """The wait for an answer begins when a file is queued, and not when it has left."""
    monkeypatch.setattr("raki.results.sending.ANSWER_S", 0.2)
    (file,) = files_of(result)[:1]

    def slow(_event):
        time.sleep(1.0)
        return 0x0000

    for n_bytes_a_second, arrives in ((1e12, False), (file.stat().st_size / 20, True)):
        monkeypatch.setattr("raki.results.sending.LEAST_BYTES_A_SECOND", n_bytes_a_second)
        with running(Archive([slow])) as archive:
            if arrives:
                assert send([file], Destination.parse(archive.destination))[0].status == 0
            else:
                with pytest.raises(PacsUnreachable):
                    send([file], Destination.parse(archive.destination))


def test_an_archive_that_does_not_know_us_refuses(run, result):
    with running(Archive(), known_callers=["MR1"]) as archive:
        code, _, why = run("send", result, "--to", archive.destination, "--calling", "MR2")
        assert code == PacsRefused.exit_code
        assert "refuses to be called by MR2" in why
        assert run("send", result, "--to", archive.destination.replace("ARCHIVE", "OTHER"), "--calling", "MR1")[0] == 43
        assert not archive.kept
        assert run("send", result, "--to", archive.destination, "--calling", "MR1")[0] == 0


def test_an_archive_that_is_full_refuses_by_its_status_and_says_how_far_it_came(result):
    def full(_event):
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xA700, "disk full"
        return answer

    files = files_of(result)
    with running(Archive([None, full])) as archive:
        with pytest.raises(PacsBusy, match=re.escape("0xa700 (disk full), having taken 1 of 5 files")):
            send(files, Destination.parse(archive.destination))
        assert len(archive.kept) == 1
        # The same again is the remedy.
        assert [sent.words for sent in send(files, Destination.parse(archive.destination))] == [
            "was there already",
            *["stored"] * 4,
        ]


def test_a_warning_is_told_and_counts_as_stored(result):
    with running(Archive([0xB007])) as archive:
        sent = send(files_of(result)[:1], Destination.parse(archive.destination))
    assert [one.words for one in sent] == ["stored with a warning (0xb007)"]


@pytest.mark.parametrize("how", ["breaks off", "falls silent"])
def test_an_archive_that_is_lost_on_the_way_is_unreachable(result, monkeypatch, how):
    def lost(event):
        if how == "breaks off":
            event.assoc.abort()
        else:
            event.assoc.dimse_timeout = None
            silence.wait(5)
        return 0x0000

    silence = Event()
    monkeypatch.setattr(raki.results.sending, "ANSWER_S", 0.5)
    with running(Archive([None, lost])) as archive:
        with pytest.raises(PacsUnreachable, match="having taken 1 of 5 files; send them again"):
            send(files_of(result), Destination.parse(archive.destination))
        silence.set()


MIB = 1 << 20


@pytest.fixture
def large(tmp_path):
    """An image of 32 MiB."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.PatientID = MRImageStorage, "1.2.3.1", "large"
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2", "1.2.3"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.add_new("PixelData", "OW", bytes(32 * MIB))
    image.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    return tmp_path / "large.dcm"


@pytest.mark.parametrize("largest_pdu", [16382, 0, 1 << 30], ids=["small parts", "of any size", "huge ones"])
def test_of_a_large_file_little_is_in_memory_however_slow_the_archive(large, monkeypatch, largest_pdu):
    monkeypatch.setattr(
        _config, "STORE_RECV_CHUNKED_DATASET", True
    )  # the archive, which is in this process, holds none
    sizes = []

    def slow(event):
        sizes.append(len(event.data))
        time.sleep(0.0002)

    archive = Archive([lambda _event: 0x0000])
    with running(archive, largest_pdu=largest_pdu, received=slow) as archive:
        tracemalloc.start()
        send([large], Destination.parse(archive.destination), memory_bytes=0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert sum(sizes) > 32 * MIB
    assert peak < 16 * MIB
    assert not _config.STORE_SEND_CHUNKED_DATASET, "that is the program's to choose"


def test_an_archive_that_takes_both_encodings_gets_the_file_as_it_is(result):
    with running(Archive(), syntaxes=(ImplicitVRLittleEndian, ExplicitVRLittleEndian)) as archive:
        send(files_of(result), Destination.parse(archive.destination))
    assert {image.file_meta.TransferSyntaxUID for image in archive.kept.values()} == {ExplicitVRLittleEndian}


def test_what_is_too_large_to_be_encoded_anew_is_refused_before_anything_is_sent(result):
    files = files_of(result)
    largest = max(path.stat().st_size for path in files)
    with running(Archive(), syntaxes=[ImplicitVRLittleEndian]) as archive:
        destination = Destination.parse(archive.destination)
        with pytest.raises(TooLarge, match=r"takes no Explicit VR Little Endian, and to encode .*\.dcm in another way"):
            send(files, destination, memory_bytes=3 * largest - 1)
        assert not archive.kept
        assert len(send(files, destination, memory_bytes=3 * largest)) == len(files)


def test_an_archive_that_reads_no_further_is_given_up(large, monkeypatch):
    """More of the file waits than fits between the two: a sender without a limit would hang, and not say so."""
    monkeypatch.setattr("raki.results.sending.ANSWER_S", 0.5)
    monkeypatch.setattr("raki.results.sending.LEAST_BYTES_A_SECOND", 1e9)
    blocked, n_read = Event(), []

    def stuck(event):
        n_read.append(len(event.data))
        if sum(n_read) > MIB:
            blocked.wait(20)

    with running(Archive(), received=stuck) as archive:
        began = time.monotonic()
        with pytest.raises(PacsUnreachable, match="having taken 0 of 1 files"):
            send([large], Destination.parse(archive.destination))
        assert time.monotonic() - began < 10
        blocked.set()


def test_what_the_manifest_does_not_vouch_for_is_not_sent(run, result, archive):
    image = result / "image.dcm"
    image.write_bytes(image.read_bytes() + b"\0\0")
    code, _, why = run("send", result, "--to", archive.destination)
    assert code == DamagedResult.exit_code
    assert "Image.dcm is missing or not what the manifest says" in why
    assert not archive.kept


def test_a_result_without_single_images_says_how_to_get_them(run, tmp_path, archive):
    write_results(example_reconstruction(), tmp_path, source=Source(name="a", sha256="b", n_bytes=1))
    code, _, why = run("send", tmp_path, "--to", archive.destination, "--single")
    assert code == DamagedResult.exit_code
    assert "raki reconstruct --dicom" in why


def test_without_pynetdicom_a_sentence_says_what_to_install(run, result, monkeypatch):
    for name in ("pynetdicom", "pynetdicom.ae"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "raki.results.sending")
    code, _, why = run("send", result, "--to", "ARCHIVE@127.0.0.1:11112")
    assert code == NotInstalled.exit_code
    assert "pip install 'raki-mri[pacs]'" in why


TITLES = st.text(
    st.characters(codec="ascii", exclude_characters="\\@", exclude_categories=["Cc"]), min_size=1, max_size=16
)


@given(
    title=TITLES.filter(str.strip),
    host=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,30}", fullmatch=True),
    port=st.integers(1, 65535),
)
def test_a_destination_is_read_as_it_is_written(title, host, port):
    found = Destination.parse(f"{title}@{host}:{port}")
    assert (found.title, found.host, found.port) == (title, host, port)


def test_an_ipv6_address_stands_in_brackets():
    assert Destination.parse("A@[::1]:104").host == "::1"


@pytest.mark.parametrize(
    "text",
    [
        "ARCHIVE",
        "ARCHIVE@host",
        "@host:104",
        "A@host:0",
        "A@host:65536",
        "A@host:104x",
        "A\\B@host:104",
        "A" * 17 + "@host:104",
        " @host:1",
        "A@::1:104",
    ],
)
def test_what_is_no_destination_is_refused_before_anything_is_read(run, tmp_path, text):
    code, _, _ = run("send", tmp_path, "--to", text)
    assert code == 2
    with pytest.raises(ValueError, match="is no"):
        Destination.parse(text)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The archive's, of 127.0.0.1."""
    return certify("archive", tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Our own."""
    return certify("raki", tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_by_tls_images_reach_an_archive_whose_certificate_is_trusted(run, result, certificate, server_tls):
    with running(Archive(), tls=server_tls) as archive:
        assert run("send", result, "--to", archive.destination, "--trusted", certificate)[0] == 0
        assert len(archive.kept) == 5


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_server_whose_certificate_is_not_trusted_is_told_nothing(result, certificate, server_tls, is_trusted):
    """Not even the AE titles: the handshake is not completed."""
    shaken = []

    def shake_hands():
        connection, _ = listener.accept()
        with connection, suppress(OSError), server_tls.wrap_socket(connection, server_side=True) as encrypted:
            shaken.append(encrypted.recv(1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Thread(target=shake_hands)
        server.start()
        context = tls_context(trusted=certificate) if is_trusted else tls_context()
        destination = Destination(title="ARCHIVE", host="127.0.0.1", port=listener.getsockname()[1], tls=context)
        with pytest.raises(PacsUnreachable):
            send(files_of(result), destination)
        server.join()
    assert shaken == ([b"\x01"] if is_trusted else [])


def test_an_archive_that_asks_for_a_certificate_gets_ours(run, result, certificate, client, server_tls):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(client)
    with running(Archive(), tls=server_tls) as archive:
        told = ("send", result, "--to", archive.destination, "--trusted", certificate)
        assert run(*told)[0] == PacsUnreachable.exit_code
        assert not archive.kept
        assert run(*told, "--certificate", client)[0] == 0
        assert len(archive.kept) == 5


def test_an_archive_that_asks_for_another_certificate_takes_nothing(run, result, certificate, client, server_tls):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(certificate)
    with running(Archive(), tls=server_tls) as archive:
        told = ("send", result, "--to", archive.destination, "--trusted", certificate, "--certificate", client)
        assert run(*told)[0] == PacsUnreachable.exit_code
        assert not archive.kept


def test_a_file_that_is_no_certificate_is_named_before_anything_is_sent(run, result, tmp_path, archive):
    (tmp_path / "ca.pem").write_text("letter")
    assert run("send", result, "--to", archive.destination, "--trusted", tmp_path / "ca.pem")[0] == 2
    assert not archive.kept
    with pytest.raises(OSError, match="certificate"):
        tls_context(trusted=tmp_path / "ca.pem")
