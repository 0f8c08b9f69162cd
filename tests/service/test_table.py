"""The table's promise: what is read is what was written last, and only an unmet condition is a no."""

import pytest
from botocore.exceptions import ClientError

from raki.service.table import Table


@pytest.fixture
def dynamodb(clients):
    return clients[-1]


def test_a_refusal_for_another_reason_than_the_condition_is_raised(dynamodb):
    table = Table(dynamodb, "no-such-table")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        table.update("s", {"n": 1}, condition="attribute_not_exists(scan_id)", values={})
    with pytest.raises(ClientError, match="ResourceNotFound"):
        table.put({"scan_id": "s"}, condition="attribute_not_exists(scan_id)", values={})


def test_every_read_is_consistent(cloud, dynamodb):
    asked = []
    dynamodb.meta.events.register(
        "provide-client-params.dynamodb", lambda params, **_: asked.append(params), unique_id="asked"
    )
    try:
        cloud.ledger.get("s")
        list(cloud.ledger.scans())
    finally:
        dynamodb.meta.events.unregister("provide-client-params.dynamodb", unique_id="asked")
    assert [params["ConsistentRead"] for params in asked] == [True, True]
