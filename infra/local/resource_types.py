"""The CloudFormation types that moto lacks and the templates need, one class and one reason each.

moto finds a type by looking at the direct subclasses of its CloudFormationModel. Each class here calls the public API
of the same server, as CloudFormation itself would.
"""

import uuid
from abc import abstractmethod
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
        cls, _resource_name: str, cloudformation_json: Json, _account_id: str, _region_name: str, **_kwargs: object
    ) -> "_Resource":
        resource = cls()
        resource.create(cloudformation_json["Properties"], _connection[0])
        return resource

    @classmethod
    def update_from_cloudformation_json(cls, **_kwargs: object) -> "_Resource":
        raise ValidationError(message=f"{cls.TYPE} can't be updated in the local cloud: start it anew")

    @abstractmethod
    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """Makes the thing by the server's own API, and sets its id and its attributes."""


class NfsFileShare(_Resource, CloudFormationModel):
    """The shares that scans are dropped on and results appear on; moto has no Storage Gateway."""

    TYPE = "AWS::StorageGateway::NFSFileShare"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One file share, with its folder."""
        share = connect("storagegateway").create_nfs_file_share(ClientToken=str(uuid.uuid4()), **properties)
        self.physical_resource_id = share["FileShareARN"]
        self.attributes = {
            "FileShareARN": share["FileShareARN"],
            "FileShareId": share["FileShareARN"].rpartition("/")[2],
        }
