"""What a stage is told by its environment: every name, and what stands for nothing."""

from dataclasses import fields

import pytest

from infra.pipeline.delivery import NO_SHARE
from infra.pipeline.reconstruction import NO_PREPARED_FOLDER
from raki.service.settings import DecompressSettings, ReconstructSettings, RefreshSettings, from_environment

RECONSTRUCT = {
    "HOURLY_USD": "{}",
    "LEDGER_TABLE": "l",
    "MODELS": "none",
    "RAW_BUCKET": "r",
    "RECONSTRUCT_DEAD_LETTERS_URL": "https://d",
    "RECONSTRUCT_QUEUE_URL": "https://q",
    "RESULTS_BUCKET": "b",
}
REFRESH = {
    "LEDGER_TABLE": "l",
    "REFRESH_DEAD_LETTERS_URL": "https://d",
    "REFRESH_QUEUE_URL": "https://q",
    "REFRESH_SPACING_S": "60",
    "RESULTS_BUCKET": "b",
}
DECOMPRESS = {field.name.upper(): "x" for field in fields(DecompressSettings) if field.type in (str, str | None)}


def test_what_a_deployment_does_not_have_is_none():
    told = from_environment(RefreshSettings, {**REFRESH, "RESULTS_SHARE_ARN": NO_SHARE})
    assert told.results_share_arn is None
    told = from_environment(ReconstructSettings, {**RECONSTRUCT, "PREPARED_FOLDER": NO_PREPARED_FOLDER})
    assert told.prepared_folder is None
    assert from_environment(ReconstructSettings, {**RECONSTRUCT, "PREPARED_FOLDER": "/fsx"}).prepared_folder == "/fsx"


@pytest.mark.parametrize(("text", "means"), [("0", False), ("1", True)])
def test_a_switch_is_a_truth_value(text, means):
    assert from_environment(DecompressSettings, {**DECOMPRESS, "DEIDENTIFY": text}).deidentify is means


def test_what_is_missing_or_no_number_is_named():
    with pytest.raises(RuntimeError, match="DecompressSettings needs the environment variable DEIDENTIFY"):
        from_environment(DecompressSettings, DECOMPRESS)
    with pytest.raises(RuntimeError, match="DEIDENTIFY is 'yes'; a whole number is needed"):
        from_environment(DecompressSettings, {**DECOMPRESS, "DEIDENTIFY": "yes"})
