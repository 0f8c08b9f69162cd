"""The custom resource that activates the gateway, against an appliance and a CloudFormation made of sockets."""

import json
import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import boto3
import pytest
from botocore.stub import Stubber

from lambdas import activate_gateway as activation

GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"
SECRET_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:guest-a1b2c3"
ADDRESS = "10.0.3.7"
KEY = "29AV1-3OFV9-VVIUB-NKT0I-LRO6V"
PROPERTIES = {"Address": ADDRESS, "Name": "RakiGateway", "Region": "us-east-1", "TimeZone": "GMT"}
ACTIVATE = {
    "ActivationKey": KEY,
    "GatewayName": "RakiGateway",
    "GatewayRegion": "us-east-1",
    "GatewayTimezone": "GMT",
    "GatewayType": "FILE_S3",
}
DISKS = [
    {"DiskId": "root", "DiskStatus": "present", "DiskAllocationType": "SYSTEM"},
    {"DiskId": "cache", "DiskStatus": "present", "DiskAllocationType": "AVAILABLE"},
]


@contextmanager
def served(answers):
    """A server that gives these answers, the last one for ever, and notes what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(SimpleNamespace(
                path=self.path, headers=self.headers, body=self.rfile.read(int(self.headers.get("Content-Length", 0)))
            ))  # fmt: skip
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_PUT(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(activation, "PAUSE_S", 0)


@pytest.fixture
def gateway():
    with Stubber(activation.GATEWAY) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def secrets():
    with Stubber(activation.SECRETS) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def appliance(monkeypatch):
    """Stands at `ADDRESS`, port 80, and is still starting when it is asked for the first two times."""
    with served([(503, "starting"), (200, "<html>not ready</html>"), (200, f"{KEY}\n")]) as (port, asked):
        connect = socket.create_connection

        def reroute(address, *rest, **options):
            return connect(("127.0.0.1", port) if address == (ADDRESS, 80) else address, *rest, **options)

        monkeypatch.setattr(socket, "create_connection", reroute)
        yield asked


def run(request_type, *, seconds=900, **changes):
    """Sends the request to the handler; returns what CloudFormation is answered."""
    with served([(200, "")]) as (port, answers):
        event = {
            "LogicalResourceId": "Gateway",
            "RequestId": "request-1",
            "RequestType": request_type,
            "ResourceProperties": PROPERTIES,
            "ResponseURL": f"http://127.0.0.1:{port}/stack%7CGateway?Signature=s%2Bx",
            "StackId": "stack-1",
            **changes,
        }
        left = iter(range(seconds * 1000, -(10**9), -30_000))  # half a minute goes by at each look at the clock
        activation.handler(event, SimpleNamespace(get_remaining_time_in_millis=lambda: next(left)))
        (answer,) = answers
    assert answer.path == "/stack%7CGateway?Signature=s%2Bx", "the signed URL as it was given"
    assert answer.headers["Content-Type"] == ""
    reply = json.loads(answer.body)
    same = ("LogicalResourceId", "RequestId", "StackId")
    assert [reply[name] for name in same] == [event[name] for name in same]
    return reply


def expect_activation(gateway):
    gateway.add_response("activate_gateway", {"GatewayARN": GATEWAY_ARN}, ACTIVATE)


def expect_cache(gateway):
    listed = {"GatewayARN": GATEWAY_ARN}
    gateway.add_client_error("list_local_disks", "InvalidGatewayRequestException", "not connected", 400)
    gateway.add_response("list_local_disks", {"GatewayARN": GATEWAY_ARN, "Disks": DISKS[:1]}, listed)
    gateway.add_response("list_local_disks", {"GatewayARN": GATEWAY_ARN, "Disks": DISKS}, listed)
    gateway.add_response("add_cache", {"GatewayARN": GATEWAY_ARN}, {"DiskIds": ["cache"], **listed})


def test_a_gateway_is_activated_as_soon_as_the_appliance_is_ready_and_gets_its_cache(gateway, appliance):
    expect_activation(gateway)
    expect_cache(gateway)
    reply = run("Create")
    assert reply["Status"] == "SUCCESS", reply["Reason"]
    assert reply["PhysicalResourceId"] == reply["Data"]["GatewayARN"] == GATEWAY_ARN
    assert {request.path for request in appliance} == {"/?gatewayType=FILE_S3&activationRegion=us-east-1&no_redirect"}
    assert len(appliance) == 3


def test_without_the_internet_the_appliance_is_told_the_endpoint(gateway, appliance):
    expect_activation(gateway)
    expect_cache(gateway)
    run(
        "Create", ResourceProperties={**PROPERTIES, "VpcEndpoint": "vpce-1.storagegateway.us-east-1.vpce.amazonaws.com"}
    )
    assert "&vpcEndpoint=vpce-1.storagegateway.us-east-1.vpce.amazonaws.com&no_redirect" in appliance[0].path


def test_the_sdk_reads_the_endpoint_from_the_handlers_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STORAGE_GATEWAY", "https://vpce-1.storagegateway.us-east-1.vpce.amazonaws.com")
    assert boto3.client("storagegateway").meta.endpoint_url.startswith("https://vpce-1.")


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_guests_get_the_secrets_password(gateway, secrets, appliance, request_type):
    if request_type == "Create":
        expect_activation(gateway)
        expect_cache(gateway)
    secrets.add_response("get_secret_value", {"SecretString": "hunter22hunter"}, {"SecretId": SECRET_ARN})
    gateway.add_response(
        "set_smb_guest_password",
        {"GatewayARN": GATEWAY_ARN},
        {"GatewayARN": GATEWAY_ARN, "Password": "hunter22hunter"},
    )
    reply = run(
        request_type, PhysicalResourceId=GATEWAY_ARN, ResourceProperties={**PROPERTIES, "GuestSecret": SECRET_ARN}
    )
    assert reply["Status"] == "SUCCESS", reply["Reason"]
    assert "hunter" not in json.dumps(reply)


def test_an_update_keeps_the_gateway(gateway, appliance):
    reply = run("Update", PhysicalResourceId=GATEWAY_ARN)
    assert (reply["Status"], reply["PhysicalResourceId"]) == ("SUCCESS", GATEWAY_ARN)
    assert not appliance, "nothing is activated anew"


def test_a_deletion_deletes_the_gateway(gateway):
    gateway.add_response("delete_gateway", {"GatewayARN": GATEWAY_ARN}, {"GatewayARN": GATEWAY_ARN})
    assert run("Delete", PhysicalResourceId=GATEWAY_ARN)["Status"] == "SUCCESS"


def test_a_deletion_never_holds_the_stack_up(gateway):
    gateway.add_client_error("delete_gateway", "InvalidGatewayRequestException", "it is gone", 400)
    assert run("Delete", PhysicalResourceId=GATEWAY_ARN)["Status"] == "SUCCESS"
    assert run("Delete", PhysicalResourceId=activation.NOT_ACTIVATED)["Status"] == "SUCCESS"


def test_an_appliance_that_never_answers_is_said_before_the_time_is_up(gateway, monkeypatch):
    monkeypatch.setattr(activation, "_ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr(socket, "create_connection", _refuse_but_localhost(socket.create_connection))
    reply = run("Create")
    assert (reply["Status"], reply["PhysicalResourceId"]) == ("FAILED", activation.NOT_ACTIVATED)
    assert "the appliance doesn't answer (ConnectionRefusedError)" in reply["Reason"]


def _refuse_but_localhost(connect):
    def attempt(address, *rest, **options):
        if address[0] != "127.0.0.1":
            raise ConnectionRefusedError
        return connect(address, *rest, **options)

    return attempt


def test_a_function_that_starts_with_no_time_left_answers_at_once(gateway, appliance):
    assert run("Create", seconds=5)["Status"] == "FAILED"
    assert not appliance


def test_a_gateway_without_its_cache_is_named_so_that_it_gets_deleted(gateway, appliance):
    expect_activation(gateway)
    gateway.add_client_error("list_local_disks", "InternalServerError", "sorry", 500)
    reply = run("Create")
    assert (reply["Status"], reply["PhysicalResourceId"]) == ("FAILED", GATEWAY_ARN)
    assert reply["Reason"].startswith("Create of the gateway: An error occurred (InternalServerError)")


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "8.8.8.8", "::1", "example.org", "10.0.0.1:22"])
def test_nobody_is_asked_but_a_host_of_a_private_network(gateway, appliance, address):
    reply = run("Create", ResourceProperties={**PROPERTIES, "Address": address})
    assert (reply["Status"], reply["PhysicalResourceId"]) == ("FAILED", activation.NOT_ACTIVATED)
    assert address in reply["Reason"]
    assert not appliance


def test_a_redirect_of_the_appliance_is_not_followed(gateway, monkeypatch):
    with served([(302, "")]) as (port, asked):
        connect = socket.create_connection
        monkeypatch.setattr(
            socket,
            "create_connection",
            lambda address, *rest, **options: connect(
                ("127.0.0.1", port) if address == (ADDRESS, 80) else address, *rest, **options
            ),
        )
        reply = run("Create", seconds=180)
    assert "answers 302 and no activation key" in reply["Reason"]
    assert {request.path.partition("?")[0] for request in asked} == {"/"}


def test_a_request_that_lacks_a_property_is_answered(gateway):
    assert "'Address'" in run("Create", ResourceProperties={})["Reason"]
    assert run("Create", ResourceProperties=None)["Status"] == "FAILED"


def test_an_answer_that_doesnt_get_through_is_sent_again(monkeypatch):
    attempts = []
    put = activation._put

    def fail_once(url, body):
        attempts.append(url)
        if len(attempts) == 1:
            raise ConnectionResetError
        return put(url, body)

    monkeypatch.setattr(activation, "_put", fail_once)
    assert run("Delete")["Status"] == "SUCCESS"
    assert len(attempts) == 2


def test_nothing_is_deleted_where_nothing_was_activated(gateway, monkeypatch):
    deleted = []
    monkeypatch.setattr(activation.GATEWAY, "delete_gateway", lambda **request: deleted.append(request))
    assert run("Delete", PhysicalResourceId=activation.NOT_ACTIVATED)["Status"] == "SUCCESS"
    assert not deleted
