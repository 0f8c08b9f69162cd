import pytest

from infra.deployment import Deployment

SETTINGS = {
    "raki:gateway_arn": "",
    "raki:max_decompression_workers": 8,
    "raki:max_reconstruction_jobs": "4",  # as `cdk deploy -c` hands it over
    "raki:scans_per_job": 8,
}


def test_settings_are_read_from_the_context():
    assert Deployment.from_context(SETTINGS.get).max_reconstruction_jobs == 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("raki:max_decompression_workers", None),
        ("raki:max_reconstruction_jobs", "many"),
        ("raki:scans_per_job", 0),
        ("raki:gateway_arn", "sgw-12345678"),
    ],
)
def test_a_wrong_setting_is_named(key, value):
    with pytest.raises(ValueError, match=key):
        Deployment.from_context((SETTINGS | {key: value}).get)
