"""The CloudFormation types that moto lacks and the templates need, one class and one reason each.

moto finds a type by looking at the direct subclasses of its CloudFormationModel. Each class here calls the public API
of the same server, as CloudFormation itself would.
"""

import uuid
from collections.abc import Callable
from typing import Any

from moto.cloudformation.exceptions import UnformattedGetAttTemplateException, ValidationError
from moto.core.common_models import CloudFormationModel

from infra.local.account import Client

Json = dict[str, Any]

_connection: list[Callable[[str], Client]] = []


def use_connection(connect: Callable[[str], Client]) -> None:
    """Tells the types how to reach the server that is now running."""
    _connection[:] = [connect]


class _Resource:
    """What every type has to say of itself."""

    TYPE: str
    physical_resource_id: str
    attributes: dict[str, str]

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.TYPE

    @classmethod
    def has_cfn_attr(cls, _attribute: str) -> bool:
        return True  # the instance knows, and says so when it is asked

    def get_cfn_attribute(self, attribute: str) -> str:
        if attribute not in self.attributes:
            raise UnformattedGetAttTemplateException
        return self.attributes[attribute]

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Json, _account_id: str, _region_name: str, **_kwargs: object
    ) -> "_Resource":
        resource = cls()
        resource.create(resource_name, cloudformation_json["Properties"], _connection[0])
        return resource

    @classmethod
    def update_from_cloudformation_json(cls, **_kwargs: object) -> "_Resource":
        raise ValidationError(message=f"{cls.TYPE} can't be updated in the local cloud: start it anew")

    def create(self, name: str, properties: Json, connect: Callable[[str], Client]) -> None:
        raise NotImplementedError


class _FileShare(_Resource):
    KIND: str

    def create(self, name: str, properties: Json, connect: Callable[[str], Client]) -> None:  # noqa: ARG002
        client = connect("storagegateway")
        create = client.create_nfs_file_share if self.KIND == "NFS" else client.create_smb_file_share
        arn = create(ClientToken=str(uuid.uuid4()), **properties)["FileShareARN"]
        self.physical_resource_id = arn
        self.attributes = {"FileShareARN": arn, "FileShareId": arn.rpartition("/")[2]}


class NfsFileShare(_FileShare, CloudFormationModel):
    """The shares that scans are dropped on and results appear on; moto has no Storage Gateway."""

    TYPE = "AWS::StorageGateway::NFSFileShare"
    KIND = "NFS"
