"""Raw lines in over a connection, images out on the same one: those that `raki reconstruct` makes, or one sentence."""

import logging
import struct
import threading
from contextlib import contextmanager

import ismrmrd
import numpy as np
import pytest

from raki.phantom import simulate_scan
from raki.serving import Limits, Pixels, Server
from tests.serving.client import ACQUISITION, CONFIG_TEXT, HEADER, Client, config_file, messages, text

FLOATS = {"pixels": Pixels.FLOAT32}


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level(logging.INFO, logger="raki")


@contextmanager
def serving(scratch, *, pixels=Pixels.UINT16, **limits):
    server = Server(
        "127.0.0.1", 0, limits=Limits(**{"at_once": 1, **limits}), options={"method": "grappa", "maps": False},
        pixels=pixels, device="cpu", scratch=scratch,
    )  # fmt: skip
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def server(folder):
    """One for all tests that ask no other settings of it, so that what one client does to it, the next one sees."""
    with serving(folder, pixels=Pixels.FLOAT32, at_once=3, patience_s=30.0, most_bytes=3_000_000) as server:
        yield server


@pytest.fixture(scope="module")
def lines(raw):
    return messages(raw)


@pytest.fixture
def expected(raw, run, tmp_path):
    """The images of `raki reconstruct`, as `image.h5` has them."""
    code, _, said = run("reconstruct", raw, "-o", tmp_path / "out", "--method", "grappa", "--device", "cpu")
    assert code == 0, said
    with ismrmrd.Dataset(tmp_path / "out/image.h5", mode="r") as dataset:
        return [dataset.read_image("image_0", index) for index in range(dataset.number_of_images("image_0"))]


def nothing_left(folder):
    (room,) = folder.iterdir()
    assert list(room.iterdir()) == []


PLACE = ("position", "read_dir", "phase_dir", "slice_dir", "field_of_view", "slice", "repetition", "image_index")


def test_the_images_are_those_of_reconstruct(server, lines, expected, folder, caplog):
    answer = Client(server.address).send(config_file("grappa"), *lines).close().answer()
    assert answer.closed
    assert len(answer.images) == len(expected) == 2
    for ours, theirs in zip(answer.images, expected, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)
        assert ours.data.dtype == np.float32
        for name in PLACE:
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
        assert float(ours.meta["WindowWidth"]) > 0
    nothing_left(folder)
    records = [record for record in caplog.records if record.name == "raki.serve"]
    assert {record.getMessage() for record in records} == {"received", "first image", "sent"}
    (scan_id,) = {record.scan_id for record in records}
    assert len(scan_id) == 16


def test_whole_numbers_stand_for_the_same_within_half_a_step(lines, expected, tmp_path):
    ten = "<userParameterLong><name>BitsStored</name><value>10</value></userParameterLong>"
    bits = f"<userParameters>{ten}</userParameters>"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with serving(scratch) as server:
        for header, top in ((lines[0], 4095), (with_parameters(lines[0], bits), 1023)):
            images = Client(server.address).send(header, *lines[1:]).close().answer().images
            assert max(image.data.max() for image in images) == top
            for ours, theirs in zip(images, expected, strict=True):
                scale, window = float(ours.meta["RakiScale"]), int(ours.meta["WindowWidth"])
                assert ours.data.dtype == np.uint16
                assert np.abs(ours.data * scale - theirs.data).max() <= 0.5001 * scale
                assert top // 2 < window <= top
                assert int(ours.meta["WindowCenter"]) == window // 2


def with_parameters(header, added):
    xml = header[6:-1].decode().replace("</ismrmrdHeader>", f"{added}</ismrmrdHeader>")
    return text(HEADER, xml)


def test_several_at_once_and_one_more_waits(server, lines, folder):
    clients = [Client(server.address).send(*lines[:5]) for _ in range(3)]
    waiting = Client(server.address).send(lines[2])  # which is refused as soon as it is heard
    waiting.socket.settimeout(1.0)
    with pytest.raises(TimeoutError):
        waiting.socket.recv(1)
    for client in clients:
        client.send(*lines[5:]).close()
    waiting.socket.settimeout(120)
    answers = [client.answer() for client in clients]
    assert [len(answer.images) for answer in answers] == [2, 2, 2]
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.images[1].data, answers[0].images[1].data)
    assert "before the header" in waiting.answer().texts[0]
    nothing_left(folder)


def announcing(n_samples, n_coils):
    head = ismrmrd.AcquisitionHeader()
    head.number_of_samples, head.active_channels = n_samples, n_coils
    return struct.pack("<H", ACQUISITION) + bytes(head)


def noise_of(raw, tmp_path):
    path = tmp_path / "noise.h5"
    simulate_scan(path, n_slices=1, n_coils=3, matrix=32, acceleration=1, n_acs_lines=0)
    return messages(path, keep=lambda line: line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))


def refusals(lines):
    return {
        "no such message": ([lines[0], struct.pack("<H", 4711)], "holds no message at byte"),
        "a header of 4 GB": ([struct.pack("<HI", HEADER, 2**32 - 1)], "announces a header of 4294967295 bytes"),
        "a text of 4 GB": ([struct.pack("<HI", 5, 2**32 - 1)], "this server takes 3000000 at most"),
        "an endless line": ([lines[0], announcing(65535, 65535)], "this server takes 3000000 at most"),
        "too many lines": ([*lines, *lines[2:] * 40], "this server takes 3000000 at most"),
        "lines first": ([lines[2]], "before the header"),
        "no lines": ([lines[0], struct.pack("<H", 4)], "before any acquisition"),
        "images": ([lines[0], struct.pack("<H", 1022)], "send the lines as acquired"),
        "options that there aren't": ([text(CONFIG_TEXT, "[reconstruction]\nmethd = 1")], "which is no option"),
        "a long configuration": ([text(CONFIG_TEXT, "#" * 20_000)], "more than 16384 bytes"),
        "no header": ([text(HEADER, "Dummy XML header"), lines[2], struct.pack("<H", 4)], "."),
    }


@pytest.mark.parametrize("what", refusals([b""] * 3))
def test_what_cannot_be_is_refused_in_a_sentence_before_its_end(server, lines, folder, what, caplog):
    sent, sentence = refusals(lines)[what]
    answer = Client(server.address).send(*sent).answer()
    assert answer.closed
    assert answer.images == []
    (said,) = answer.texts
    assert sentence in said
    assert said.endswith(".")
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == ["refused"]


def test_noise_alone_is_said_as_everywhere(server, raw, run, tmp_path):
    sent = noise_of(raw, tmp_path)
    assert len(sent) > 2
    answer = Client(server.address).send(*sent).close().answer()
    (said,) = answer.texts
    stream = tmp_path / "noise.mrd"
    stream.write_bytes(text(HEADER, "")[:2] + sent[0][2:6] + sent[0][6:-1] + b" " + b"".join(sent[2:]) + b"\4\0")
    code, _, elsewhere = run("reconstruct", stream, "-o", tmp_path / "out")
    assert code == 24
    assert f"NoiseAlone: {said}" in elsewhere


def test_a_broken_stream_harms_nobody_and_leaves_nothing(server, lines, folder, caplog):
    other = Client(server.address).send(*lines[:5])
    broken = Client(server.address).send(*lines[:5], lines[5][:100])
    broken.socket.shutdown(1)
    assert "breaks off" in broken.answer().texts[0]
    vanished = Client(server.address).send(*lines[:5])
    vanished.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: a reset
    vanished.socket.close()
    Client(server.address).socket.close()
    assert len(other.send(*lines[5:]).close().answer().images) == 2
    nothing_left(folder)


def test_a_client_that_drips_is_ended_in_time(lines, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with serving(scratch, patience_s=0.5) as server:
        client = Client(server.address)
        ended, dripped = threading.Event(), []

        def drip():
            for byte in lines[0][:80]:
                if ended.wait(0.1):
                    return
                dripped.append(byte)
                client.socket.sendall(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = client.answer()
        ended.set()
        dripping.join()
    assert 0 < len(dripped) < 80
    assert answer.closed
    assert "no whole message came" in answer.texts[0].lower()


def test_a_configuration_names_a_method_or_is_a_raki_toml(server, lines):
    named = Client(server.address).send(config_file("zero_filled"), *lines).close().answer()
    told = (
        Client(server.address)
        .send(text(CONFIG_TEXT, '[reconstruction]\nmethod = "zero_filled"'), *lines)
        .close()
        .answer()
    )
    other = Client(server.address).send(config_file("simplefft"), *lines).close().answer()
    np.testing.assert_array_equal(named.images[0].data, told.images[0].data)
    assert not np.array_equal(named.images[0].data, other.images[0].data)
    assert "zero_filled" in named.images[0].meta["ImageComments"]
    assert "There is no configuration 'simplefft' here" in other.texts[0]


def test_a_model_that_there_is_not_is_never_passed_over_in_silence(server, lines, monkeypatch, tmp_path):
    monkeypatch.setenv("RAKI_MODELS", str(tmp_path))
    asked = text(CONFIG_TEXT, '[reconstruction]\nmodel = "head-6ch"\n')
    answer = Client(server.address).send(asked, *lines).close().answer()
    assert not answer.images
    assert any("no model head-6ch" in said for said in answer.texts)
