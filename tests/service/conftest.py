"""An in-process cloud with the ledger, a queue with dead letters and a results bucket."""

import json
from dataclasses import dataclass

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from raki.service.lease import Consumer
from raki.service.ledger import Ledger, State
from raki.service.stage import Stage

RESULTS = "results-bucket"


@dataclass(frozen=True)
class Cloud:
    s3: BaseClient
    sqs: BaseClient
    ledger: Ledger
    queue_url: str

    def stage(self, state: State = State.DECOMPRESSING, owner: str = "worker-1") -> Stage:
        return Stage(
            state=state,
            consumer=Consumer(self.sqs, self.queue_url),
            ledger=self.ledger,
            s3=self.s3,
            results_bucket=RESULTS,
            owner=owner,
        )

    def n_messages(self) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


@pytest.fixture
def cloud():
    with mock_aws():
        s3, sqs, dynamodb = (boto3.client(name) for name in ("s3", "sqs", "dynamodb"))
        s3.create_bucket(Bucket=RESULTS)
        dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
        dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": 6}
        queue = sqs.create_queue(
            QueueName="work", Attributes={"VisibilityTimeout": "30", "RedrivePolicy": json.dumps(redrive)}
        )
        dynamodb.create_table(
            TableName="ledger",
            KeySchema=[{"AttributeName": "scan_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "scan_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Cloud(s3=s3, sqs=sqs, ledger=Ledger(dynamodb, "ledger"), queue_url=queue["QueueUrl"])
