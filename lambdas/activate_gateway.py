"""Activates the gateway on EC2 and gives it its cache: a custom resource, since CloudFormation knows no gateways.

CloudFormation waits for an answer to its ResponseURL, and as long as it is told to where none comes: whatever
happens, one is sent.
"""

import http.client
import ipaddress
import json
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import boto3
from botocore.config import Config

from raki.service import log

LOG = log.configure()
# Short enough that no call outlives the seconds which are kept for the answer.
_PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})
GATEWAY = boto3.client("storagegateway", config=_PATIENCE)
SECRETS = boto3.client("secretsmanager", config=_PATIENCE)

NOT_ACTIVATED = "not-activated"
"""The resource's id where there is no gateway to speak of."""
ACTIVATION_PORT = 80
PAUSE_S = 10.0
KEPT_FOR_THE_ANSWER_S = 90.0
_PRIVATE = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_ANSWER_TIMEOUT_S = 10.0
_KEY = re.compile(r"[A-Za-z0-9-]{1,50}")
Properties = dict[str, Any]
SecondsLeft = Callable[[], float]
Found = TypeVar("Found")


class NotYet(Exception):
    """What is waited for hasn't come; the message says what that is."""


def handler(event: dict[str, Any], context: Any) -> None:
    """Answers CloudFormation's request to create, update or delete the gateway."""
    gateway_arn = event.get("PhysicalResourceId", NOT_ACTIVATED)
    status, reason = "SUCCESS", ""
    try:
        properties = event["ResourceProperties"]
        if event["RequestType"] == "Delete":
            _delete(gateway_arn)
        else:
            if event["RequestType"] == "Create":
                gateway_arn = _activate(properties, _seconds_left(context))
                _add_cache(gateway_arn, _seconds_left(context))
            _set_guest_password(gateway_arn, properties)
    except Exception as error:
        LOG.exception("the gateway's activation failed")
        status, reason = "FAILED", f"{event.get('RequestType')} of the gateway: {_sentence(error)}"
    _answer(event, Status=status, Reason=reason, PhysicalResourceId=gateway_arn)


def _activate(properties: Properties, seconds_left: SecondsLeft) -> str:
    """Asks the appliance for its activation key and activates it by that; returns the gateway's ARN."""
    address, path = _private(properties["Address"]), _activation_path(properties)
    key = _wait_for(lambda: _key(address, path), seconds_left)
    gateway = GATEWAY.activate_gateway(
        ActivationKey=key,
        GatewayName=properties["Name"],
        GatewayRegion=properties["Region"],
        GatewayTimezone=properties["TimeZone"],
        GatewayType="FILE_S3",
    )
    LOG.info("activated")
    return str(gateway["GatewayARN"])


def _private(address: str) -> str:
    """The address, if it is one of a private network: this function asks nobody else.

    Raises:
        ValueError: it isn't.
    """
    if not any(ipaddress.ip_address(address) in network for network in _PRIVATE):
        raise ValueError(f"the gateway's address is {address}; one of a private network is needed")
    return address


def _activation_path(properties: Properties) -> str:
    """User guide of S3 File Gateway, "Getting an activation key for your gateway"."""
    query = {"gatewayType": "FILE_S3", "activationRegion": properties["Region"]}
    if "VpcEndpoint" in properties:
        query["vpcEndpoint"] = properties["VpcEndpoint"]
    return f"/?{urlencode(query)}&no_redirect"


def _key(address: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, ACTIVATION_PORT, timeout=_ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(1000).decode("ascii", errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise NotYet(f"the appliance doesn't answer ({type(error).__name__})") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK or not _KEY.fullmatch(body):
        raise NotYet(f"the appliance answers {response.status} and no activation key")
    return body


def _add_cache(gateway_arn: str, seconds_left: SecondsLeft) -> None:
    """Gives the gateway all disks that it has found and not used yet."""
    disks = _wait_for(lambda: _free_disks(gateway_arn), seconds_left)
    GATEWAY.add_cache(GatewayARN=gateway_arn, DiskIds=disks)
    LOG.info("cache added", extra={"n_disks": len(disks)})


def _free_disks(gateway_arn: str) -> list[str]:
    try:
        disks = GATEWAY.list_local_disks(GatewayARN=gateway_arn)["Disks"]
    except GATEWAY.exceptions.InvalidGatewayRequestException as error:  # it is still connecting
        raise NotYet(f"the gateway doesn't list its disks: {error}") from error
    free = [disk["DiskId"] for disk in disks if disk.get("DiskAllocationType") == "AVAILABLE"]
    if not free:
        raise NotYet(f"of the gateway's {len(disks)} disks none is free for the cache")
    return free


def _set_guest_password(gateway_arn: str, properties: Properties) -> None:
    if "GuestSecret" in properties:
        password = SECRETS.get_secret_value(SecretId=properties["GuestSecret"])["SecretString"]
        GATEWAY.set_smb_guest_password(GatewayARN=gateway_arn, Password=password)


def _delete(gateway_arn: str) -> None:
    """Deletes the gateway if it can: one that is left shows in the console, and must not hold up the stack."""
    if gateway_arn == NOT_ACTIVATED:
        return
    try:
        GATEWAY.delete_gateway(GatewayARN=gateway_arn)
    except Exception:
        LOG.exception("the gateway is left")


def _seconds_left(context: Any) -> SecondsLeft:
    return lambda: float(context.get_remaining_time_in_millis()) / 1000 - KEPT_FOR_THE_ANSWER_S


def _wait_for(look: Callable[[], Found], seconds_left: SecondsLeft) -> Found:
    """What `look` finds, looked for again and again.

    Raises:
        TimeoutError: there is no time left; the message says what hadn't come.
    """
    reason = "there was no time to look"
    while seconds_left() > 0:
        try:
            return look()
        except NotYet as not_yet:
            reason = str(not_yet)
            time.sleep(PAUSE_S)
    raise TimeoutError(f"{reason}; look at the instance, its security groups and its network, then deploy again")


def _sentence(error: Exception) -> str:
    return f"it needs the property {error}" if isinstance(error, KeyError) else str(error)


def _answer(event: dict[str, Any], **answer: str) -> None:
    """Puts the answer where CloudFormation looks for it.

    AWS CloudFormation user guide, "Custom resource response objects".
    """
    same = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    data = {"GatewayARN": answer["PhysicalResourceId"]}
    # CloudFormation takes 4096 bytes.
    body = json.dumps({**same, **answer, "Reason": answer["Reason"][:1000], "Data": data}).encode()
    for n_left in (2, 1, 0):
        try:
            taken = _put(event["ResponseURL"], body)
        except (OSError, http.client.HTTPException):
            if n_left == 0:
                raise
            time.sleep(PAUSE_S)
        else:
            LOG.info("answered", extra={"status": answer["Status"], "taken": taken})
            return


def _put(response_url: str, body: bytes) -> int:
    url = urlsplit(response_url)
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = connect(url.netloc, timeout=_ANSWER_TIMEOUT_S)
    try:
        # The URL is signed for an empty content type.
        connection.request("PUT", f"{url.path}?{url.query}", body, {"Content-Type": ""})
        return connection.getresponse().status
    finally:
        connection.close()
