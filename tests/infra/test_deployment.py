import pytest

from infra.deployment import Deployment

SETTINGS = {
    "raki:gateway_arn": "",
    "raki:share_clients": "",
    "raki:deidentify": "true",
    "raki:max_decompression_workers": 8,
    "raki:max_reconstruction_jobs": "4",  # as `cdk deploy -c` hands it over
    "raki:scans_per_job": 8,
}


def test_settings_are_read_from_the_context():
    assert Deployment.from_context(SETTINGS.get).max_reconstruction_jobs == 4


def test_a_gateway_needs_to_know_who_may_mount_its_shares():
    gateway = {"raki:gateway_arn": "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"}
    with pytest.raises(ValueError, match="raki:share_clients"):
        Deployment.from_context((SETTINGS | gateway).get)
    clients = {"raki:share_clients": "10.1.0.0/16, 10.2.3.4/32"}
    assert Deployment.from_context((SETTINGS | gateway | clients).get).share_clients == ("10.1.0.0/16", "10.2.3.4/32")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("raki:max_decompression_workers", None),
        ("raki:max_reconstruction_jobs", "many"),
        ("raki:deidentify", "perhaps"),
        ("raki:scans_per_job", 0),
        ("raki:gateway_arn", "sgw-12345678"),
    ],
)
def test_a_wrong_setting_is_named(key, value):
    with pytest.raises(ValueError, match=key):
        Deployment.from_context((SETTINGS | {key: value}).get)
