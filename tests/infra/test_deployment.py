"""A deployment's settings are the profile's and the site's own; what can't be deployed is refused in words."""

import json
import re
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path

import botocore
import pytest

from infra.deployment import PREFIX, PROFILES, Deployment, SettingsError
from infra.local.deploy.synth import REPOSITORY, SynthesisFailed, synthesise
from raki.options import NAMES, Options, method_names

GATEWAY = {"raki:gateway_arn": "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"}
GUIDE = REPOSITORY / "infra/README.md"


def test_settings_are_read_from_the_context_and_the_rest_is_the_profiles():
    deployment = Deployment.from_context({"raki:profile": "clinic", "raki:max_reconstruction_jobs": "7"})
    assert deployment.max_reconstruction_jobs == 7  # as `cdk deploy -c` hands it over
    assert deployment.max_decompression_workers == PROFILES["clinic"]["max_decompression_workers"]


def test_what_stands_in_cdk_json_is_the_minimal_profile():
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    assert Deployment.from_context(context) == Deployment.from_context({"raki:profile": "minimal"})


def test_a_gateway_needs_to_know_who_may_mount_its_shares():
    with pytest.raises(SettingsError, match="raki:share_clients"):
        Deployment.from_context(GATEWAY)
    clients = {"raki:share_clients": "10.1.0.0/16, 10.2.3.4/32"}
    networks = Deployment.from_context(GATEWAY | clients).share_clients
    assert [str(network) for network in networks] == ["10.1.0.0/16", "10.2.3.4/32"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("raki:alarm_email", "nobody"),
        ("raki:coils", -1),
        ("raki:combine", "sum"),
        ("raki:deidentify", "perhaps"),
        ("raki:egress", "internet"),
        ("raki:gateway_arn", "sgw-12345678"),
        ("raki:maps", "perhaps"),
        ("raki:max_reconstruction_jobs", "many"),
        ("raki:method", "raki2091"),
        ("raki:operators", "ann"),
        ("raki:operators", "arn:aws:iam::123456789012:role/radiology, arn:aws:iam::1:user/ann"),
        ("raki:operators", "arn:aws:iam::123456789012:root"),
        ("raki:pacs", "ARCHIVE@pacs.example"),
        ("raki:pacs", "ARCHIVE@pacs.example:70000"),
        ("raki:pacs", "AN-ARCHIVE-OF-IMAGES@pacs.example:104"),
        ("raki:pacs", "ARCHIVE@[fd00::1]:104"),
        ("raki:pacs_calling", "A\\B"),
        ("raki:pacs_tls", "true"),
        ("raki:pacs_certificate", "certificate.pem"),
        ("raki:pacs_certificate", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:raki"),
        ("raki:pacs_trusted", "pyproject.toml"),
        ("raki:pacs_trusted", "nowhere.pem"),
        ("raki:pacs_trusted", str(Path(botocore.__file__).with_name("cacert.pem"))),  # far too many
        ("raki:profile", "hospital"),
        ("raki:surge", 0.5),
        ("raki:seed", 1 << 32),
        ("raki:share_clients", "10.1.0.0/16, radiology"),
        ("raki:shareclients", "10.1.0.0/16"),
        ("raki:warm_gpus", 3),
        ("raki:warm_until", 6),
    ],
)
def test_a_wrong_or_unknown_setting_is_named(key, value):
    with pytest.raises(SettingsError, match=key):
        Deployment.from_context({key: value})


def test_an_archive_is_named_in_one_sentence():
    with pytest.raises(SettingsError) as failed:
        Deployment.from_context({"raki:pacs": "pacs.example:104"})
    assert str(failed.value) == (
        "raki:pacs is 'pacs.example:104'; 'pacs.example:104' is no AETITLE@HOST:PORT, as ARCHIVE@pacs.example:11112"
    )
    found = Deployment.from_context({"raki:pacs": "ARCHIVE@pacs.example:104"})
    assert (found.archive.title, found.archive.host, found.archive.port) == ("ARCHIVE", "pacs.example", 104)
    assert Deployment.from_context({}).archive is None


def test_every_option_of_a_reconstruction_is_a_setting_with_the_same_default():
    deployment = Deployment.from_context({})
    assert {name: getattr(deployment, name) for name in NAMES} == asdict(Options())


@pytest.mark.parametrize("method", sorted(entry_points(group="raki.methods").names))
def test_every_method_that_is_installed_can_be_deployed(method):
    assert Deployment.from_context({"raki:method": method}).method == method


def test_a_method_that_there_is_not_ends_the_synthesis_with_one_sentence(tmp_path):
    with pytest.raises(SynthesisFailed) as failed:
        synthesise(tmp_path, context={"raki:method": "raki2091"})
    (said,) = [line for line in str(failed.value).splitlines() if "raki2091" in line]
    assert said == f"raki: raki:method is 'raki2091'; one of {', '.join(method_names())} is needed"
    assert "Traceback" not in str(failed.value)


def test_a_file_system_has_a_size_that_fsx_has():
    with pytest.raises(SettingsError, match="raki:fsx_gib"):
        Deployment.from_context({"raki:scratch": "fsx-scratch", "raki:fsx_gib": 1500})


def test_two_gateways_are_one_too_many():
    with pytest.raises(SettingsError, match="raki:gateway_on_ec2"):
        Deployment.from_context(GATEWAY | {"raki:gateway_on_ec2": "true"})


def test_the_guide_has_every_setting_with_what_the_profiles_say():
    text = GUIDE.read_text()
    assert set(re.findall(rf"`{PREFIX}(\w+)`", text)) == set(Deployment.model_fields)
    rows = dict(re.findall(rf"^\| `{PREFIX}(\w+)` \|(.*?)\|[^|]*\|$", text, re.MULTILINE))
    for name in {name for profile in PROFILES.values() for name in profile}:
        said = [part.strip() for part in rows[name].split("|")]
        of_profiles = [getattr(Deployment.from_context({"raki:profile": profile}), name) for profile in PROFILES]
        assert said == [{True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
                        for value in of_profiles]  # fmt: skip
