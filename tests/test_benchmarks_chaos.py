"""The chaos benchmark: its plan is its seed's, a short storm breaks no promise, and a broken promise is seen."""

import json
import shutil

import pytest

from benchmarks.chaos import Storm
from benchmarks.chaos_faults import processes
from benchmarks.chaos_plan import MEAN_GAP, WEIGHTS, draw
from benchmarks.chaos_promises import LEGAL, Promises
from benchmarks.chaos_service import running
from raki.service.ledger import State

PATIENCE_S = 120
# None whose harm lasts a lease.
BRIEF = (
    "server error",
    "throttled",
    "answer lost",
    "half a body",
    "SIGTERM",
    "replaced at once",
    "A-B-A",
    "announced again",
    "announced late",
    "poison",
)


def test_the_same_seed_makes_the_same_plan():
    assert draw(30, 100, seed=5) == draw(30, 100, seed=5)
    assert draw(30, 100, seed=5) != draw(30, 100, seed=6)


def test_a_plan_has_as_many_drops_and_faults_as_asked_for():
    plan = draw(300, 1000, seed=0)
    assert sum(step.kind == "drop" for step in plan.steps) == 300
    assert plan.kinds.total() == 1000
    assert set(plan.kinds) == set(WEIGHTS)
    assert sum(gap for gap, _ in plan.requests) / len(plan.requests) == pytest.approx(MEAN_GAP, rel=0.1)
    assert set(draw(30, 50, seed=0, kinds=["poison"]).kinds) == {"poison"}


def test_the_state_machine_has_a_way_from_each_state_to_an_end():
    assert set(LEGAL) == {"", *State}
    for state in set(State) - {State.DELIVERED, State.FAILED, State.RECONSTRUCTED}:
        assert State.FAILED in LEGAL[state]
        assert State.DELIVERED not in LEGAL[state]


@pytest.fixture(scope="module")
def storm(assembly, tmp_path_factory):
    """A service after a short storm, still running; what was injected, and that nothing is left when it has ended."""
    folder = tmp_path_factory.mktemp("storm")
    shutil.copytree(assembly, folder / "work/cdk.out")
    with running(folder, folder / "work/cdk.out") as service:
        storm = Storm(service, PATIENCE_S)
        yield storm, storm.rage(draw(3, 16, seed=3, kinds=BRIEF), outage_s=0, poison=3), service
        endpoint = service.cloud.endpoint
    assert not processes(endpoint, at_work=False)


def test_a_short_storm_breaks_no_promise(storm):
    _, outcome, _ = storm
    assert outcome.dropped == 3
    assert outcome.injected.total() >= 12, "a signal may find nobody"
    assert {name: places for name, places in outcome.broken.items() if places} == {}


def add_raw(service, key):
    service.put(f"{key}.raki.toml", b"")  # no scan, and so nobody's work


def add_result(service, key):
    service.cloud.client("s3").put_object(
        Bucket=service.outputs["ResultsBucket"], Key=f"{key.removesuffix('.h5')}/error.html", Body=b"an old page"
    )


def show_another_scan(service, key):
    path = service.results / key.removesuffix(".h5") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scan_id": "0" * 20}))


def spoil_image(service, key):
    (service.results / key.removesuffix(".h5") / "image.h5").write_bytes(b"")


def fail(service, key):
    (scan,) = (record for record in service.records().values() if record.raw_key == key)
    service.cloud.client("dynamodb").update_item(
        TableName=service.outputs["LedgerTable"],
        Key={"scan_id": {"S": scan.scan_id}},
        UpdateExpression="SET #state = :failed, failure_class = :lost, failure = :lost",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":failed": {"S": "failed"}, ":lost": {"S": "WorkerLost"}},
    )


def leave_a_message(service, key):
    service.cloud.client("sqs").send_message(QueueUrl=service.queues["Ingest-dead"], MessageBody=f"of {key}")


def leave_an_upload(service, key):
    service.cloud.client("s3").create_multipart_upload(Bucket=service.outputs["RawBucket"], Key=key)


def skip_a_state(service, key):
    (scan,) = (record for record in service.records().values() if record.raw_key == key)
    service.requests.history[scan.scan_id].append(State.PREPARED)


DEEDS = {
    "raw bytes are as they were dropped": add_raw,
    "manifest = objects = files on the share": add_result,
    "the newest version's result stands": show_another_scan,
    "images are those of an undisturbed run": spoil_image,
    "no sound scan failed": fail,
    "nothing but poison is a dead letter": leave_a_message,
    "no unfinished upload or file": leave_an_upload,
    "the states are a path of the state machine": skip_a_state,
    "every standing version has ended, once": lambda service, _key: fail(service, "undisturbed/1.h5"),
}


@pytest.mark.parametrize("promise", DEEDS)
def test_a_broken_promise_is_named(storm, promise):
    storm, _, service = storm
    before = Promises(service, storm.truth).broken()[promise]
    DEEDS[promise](service, "undisturbed/0.h5")
    after = Promises(service, storm.truth).broken()
    assert set(after[promise]) - set(before), after
