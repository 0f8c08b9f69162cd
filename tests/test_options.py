"""A scan's own options are read whole or refused in one sentence; of all who set an option, the last one counts."""

from contextlib import suppress
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.errors import WrongOptions
from raki.kspace import methods
from raki.names import is_options_file, options_beside
from raki.options import (
    COMBINATIONS,
    LARGEST,
    LARGEST_FILE_BYTES,
    MISMATCHES,
    NAMES,
    Options,
    choose,
    method_names,
    needed_instead,
    read_options,
)

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(method_names()),
        "combine": st.sampled_from(COMBINATIONS),
        "coils": st.integers(0, LARGEST["coils"]),
        "seed": st.integers(0, LARGEST["seed"]),
        "maps": st.booleans(),
        "weights": st.booleans(),
        "quantities": st.booleans(),
        "kspace": st.booleans(),
        "explain": st.booleans(),
        "model": st.sampled_from(["none", "brain-16ch", "brain-16ch@2", "brain@1.2.3@sha256:" + 64 * "a"]),
        "mismatch": st.sampled_from(MISMATCHES),
    },
)


def table(values):
    literals = {name: str(value).lower() if isinstance(value, bool) else repr(value) for name, value in values.items()}
    return "\n".join(["[reconstruction]", *(f"{name} = {value}" for name, value in literals.items())]).encode()


def refused(text):
    with pytest.raises(WrongOptions) as raised:
        read_options(text.encode() if isinstance(text, str) else text)
    sentence = raised.value.sentence
    assert "raki.toml" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 400
    return sentence


@given(VALUES)
def test_what_is_allowed_is_read_as_it_was_written(values):
    assert read_options(table(values)) == values


@pytest.mark.parametrize("empty", [b"", b"# method = 'grappa'\r\n", b"[reconstruction]\n", b"\xef\xbb\xbf"])
def test_a_file_that_sets_nothing_leaves_everything_as_it_is(empty):
    assert read_options(empty) == {}


def test_every_method_that_is_registered_may_be_asked_for_and_no_other():
    assert set(method_names()) == set(methods())
    sentence = refused("[reconstruction]\nmethod = 'raki2091'")
    assert "reconstruction.method is 'raki2091'" in sentence
    assert all(name in sentence for name in methods())


@pytest.mark.parametrize(
    ("line", "found", "needed"),
    [
        ("combine = 'sum'", "combine is 'sum'", "one of rss, adaptive"),
        ("combine = ['rss']", "combine is ['rss']", "one of rss, adaptive"),
        *(
            (f"model = '{name}'", f"model is '{name}'", "of a model, or none, is needed")
            for name in ("../brain", "a/b", "brain.pt", ".", "Brain", "brain@", "brain@1@sha256:12", "-a", 70 * "a")
        ),
        ("model = 3", "model is 3", "of a model, or none, is needed"),
        ("mismatch = 'warn'", "mismatch is 'warn'", "one of refuse, own"),
        ("coils = -1", "coils is -1", "from 0 to 1024"),
        ("coils = 8.0", "coils is 8.0", "a whole number"),
        ("seed = true", "seed is true", "a whole number"),
        ("seed = 4294967296", "seed is 4294967296", "from 0 to 4294967295"),
        ("maps = 'no'", "maps is 'no'", "true or false"),
        ("maps = 0", "maps is 0", "true or false"),
        ("method = '" + "x" * 9000 + "'", "method is 'xxx", "one of "),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(line, found, needed):
    sentence = refused(f"[reconstruction]\n{line}")
    assert f"reconstruction.{found}" in sentence
    assert needed in sentence


def test_an_unknown_key_is_named_with_those_that_there_are():
    sentence = refused("[reconstruction]\nseed = 1\ncombination = 'rss'")
    assert "reconstruction.combination" in sentence
    assert all(name in sentence for name in NAMES)
    assert "'a\\nb'" in refused('[reconstruction]\n"a\\nb" = 1')


@pytest.mark.parametrize(
    ("text", "named"),
    [("seed = 1", "seed"), ("[reconstuction]\nseed = 1", "reconstuction"), ("reconstruction = 1", "reconstruction")],
)
def test_what_stands_outside_the_table_is_named(text, named):
    sentence = refused(text)
    assert f"has {named} at its top" in sentence
    assert "[reconstruction]" in sentence


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("method: grappa", "no TOML"),
        ("[reconstruction]\nseed = 1\nseed = 2", "no TOML"),
        (b"\x89HDF\r\n\x1a\n\xff", "UTF-8"),
        ("a = " + "[" * 9000, "nested too deep"),
        ("seed = " + "1" * 9000, "thousands of digits"),
        ("#" * (LARGEST_FILE_BYTES + 1), f"more than {LARGEST_FILE_BYTES} bytes"),
    ],
)
def test_what_is_no_toml_says_why(text, why):
    assert why in refused(text)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_stands_in_a_file_it_is_options_or_a_sentence(content):
    with suppress(WrongOptions):
        assert read_options(content).keys() <= set(NAMES)


def test_the_last_one_who_names_an_option_counts_and_is_remembered():
    chosen = choose({"deployment": asdict(Options(seed=3)), "raki.toml": {"method": "grappa"}, "command line": {}})
    assert chosen.options == Options(method="grappa", seed=3)
    assert chosen.set_by == dict.fromkeys(NAMES, "deployment") | {"method": "raki.toml"}
    assert set(choose({}).set_by.values()) == {"default"}


def test_an_option_that_nobody_knows_or_allows_is_named():
    with pytest.raises(ValueError, match="colour is no option; those are method"):
        choose({"raki.toml": {"colour": "red"}})
    with pytest.raises(ValueError, match="seed is -1; a whole number"):
        Options(seed=-1)
    assert [needed_instead(name, value) for name, value in asdict(Options()).items()] == [None] * len(NAMES)


def test_a_deployment_caps_the_coils_and_a_scan_is_told_that_it_has_fewer():
    assert choose({}).n_virtual_coils(16) is None
    for_all = choose({"deployment": {"coils": 8}})
    assert [for_all.n_virtual_coils(n_coils) for n_coils in (16, 8, 4)] == [8, 8, None]
    own = choose({"deployment": {"coils": 8}, "raki.toml": {"coils": 12}})
    assert own.n_virtual_coils(16) == 12
    with pytest.raises(WrongOptions, match=r"coils is 12 and the scan has 4 coils; a whole number from 0.* to 4"):
        own.n_virtual_coils(4)
    assert choose({"deployment": {"coils": 8}, "raki.toml": {"coils": 0}}).n_virtual_coils(16) is None


@pytest.mark.parametrize(
    ("name", "beside"),
    [("scan.tar.gz", "scan.raki.toml"), ("meas.v1.2.dat", "meas.v1.2.raki.toml"), ("noending", "noending.raki.toml")],
)
def test_a_scans_own_name_goes_before_the_folders_file(name, beside):
    assert options_beside(name) == (beside, "raki.toml")
    assert all(is_options_file(one) for one in options_beside(name))


@pytest.mark.parametrize("name", ["Raki.toml", "raki.toml.txt", "my-raki.toml", "pyproject.toml", "scan.h5"])
def test_only_the_name_itself_makes_a_file_of_options(name):
    assert not is_options_file(name)
