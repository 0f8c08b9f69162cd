"""A token leads back to its identity through its owner's map, and through nothing else."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from raki.identity.person import TOKEN, Identity
from raki.identity.tokens import DamagedTokenMap, TokenMap, UnknownToken

JANE = Identity(patient_name="Doe^Jäne", patient_id="4711", study_uid="1.2.3", study_date="20240206")


@pytest.fixture
def tokens(tmp_path):
    return TokenMap(tmp_path / "tokens.json")


def test_a_token_leads_back_to_its_identity(tokens):
    assert tokens.identity_of(tokens.token_for(JANE)) == JANE


def test_scans_of_one_study_share_a_token_and_complete_each_other(tokens):
    first = tokens.token_for(JANE)
    assert tokens.token_for(Identity(**{**JANE.known, "institution": "General"})) == first
    assert tokens.identity_of(first) == Identity(**{**JANE.known, "institution": "General"})


@pytest.mark.parametrize("other", [{"patient_id": "4712"}, {"patient_name": "Doe^John"}, {"study_uid": "1.2.4"}])
def test_another_patient_or_study_has_another_token(tokens, other):
    assert tokens.token_for(JANE) != tokens.token_for(Identity(**{**JANE.known, **other}))


def test_scans_that_name_nobody_are_never_taken_for_one(tokens):
    nobody = Identity(institution="General", study_date="20240206")
    assert tokens.token_for(nobody) != tokens.token_for(nobody)


def test_tokens_are_random_and_look_like_tokens(tokens, tmp_path):
    token = tokens.token_for(JANE)
    assert TOKEN.fullmatch(token)
    assert TokenMap(tmp_path / "another.json").token_for(JANE) != token


def test_the_map_is_its_owners_alone(tokens, tmp_path):
    path = tmp_path / "tokens.json"
    tokens.token_for(JANE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    tokens.token_for(Identity(patient_id="4712"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {one.name for one in tmp_path.iterdir()} <= {"tokens.json", "tokens.json.lock"}


def test_programs_that_write_at_once_lose_nothing(tmp_path):
    def add(number):
        return TokenMap(tmp_path / "tokens.json").token_for(Identity(patient_id=f"patient-{number % 10}"))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(add, range(40)))
    assert len(set(found)) == 10
    assert set(json.loads((tmp_path / "tokens.json").read_text())) == set(found)


def test_an_unknown_token_says_so_without_telling_it(tokens):
    tokens.token_for(JANE)
    with pytest.raises(UnknownToken, match="not among the 1 of the token map") as raised:
        tokens.identity_of("Doe^John")
    assert "Doe" not in str(raised.value)
    assert raised.value.exit_code == 17


@pytest.mark.parametrize(
    "content", ["", "[]", '{"raki-1": 3}', '{"raki-1": {"nickname": "J"}}', '{"raki-1": {"sex": 1}}']
)
def test_a_damaged_map_is_named_and_left_alone(tokens, tmp_path, content):
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(DamagedTokenMap, match="can't be read"):
        tokens.token_for(JANE)
    assert (tmp_path / "tokens.json").read_text() == content
