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

    def _is_share(self, arn: str) -> None:
        self.physical_resource_id = arn
        self.attributes = {"FileShareARN": arn, "FileShareId": arn.rpartition("/")[2]}


class NfsFileShare(_Resource, CloudFormationModel):
    """The shares that scans are dropped on and results appear on; moto has no Storage Gateway."""

    TYPE = "AWS::StorageGateway::NFSFileShare"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One file share, with its folder."""
        share = connect("storagegateway").create_nfs_file_share(ClientToken=str(uuid.uuid4()), **properties)
        self._is_share(share["FileShareARN"])


class SmbFileShare(_Resource, CloudFormationModel):
    """The same for hosts that run Windows."""

    TYPE = "AWS::StorageGateway::SMBFileShare"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One file share, with its folder."""
        share = connect("storagegateway").create_smb_file_share(ClientToken=str(uuid.uuid4()), **properties)
        self._is_share(share["FileShareARN"])


class FileSystem(_Resource, CloudFormationModel):
    """The scratch file system; moto has its API, but not its type."""

    TYPE = "AWS::FSx::FileSystem"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One file system, with its folder."""
        made = connect("fsx").create_file_system(ClientRequestToken=str(uuid.uuid4()), **properties)["FileSystem"]
        self.physical_resource_id = made["FileSystemId"]
        self.attributes = {
            "DNSName": made["DNSName"],
            "LustreMountName": "local",
            "ResourceARN": made["ResourceARN"],
        }


class DataRepositoryAssociation(_Resource, CloudFormationModel):
    """What shows a bucket's objects on the file system."""

    TYPE = "AWS::FSx::DataRepositoryAssociation"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One association."""
        made = connect("fsx").create_data_repository_association(ClientRequestToken=str(uuid.uuid4()), **properties)
        self.physical_resource_id = made["Association"]["AssociationId"]
        self.attributes = {
            "AssociationId": made["Association"]["AssociationId"],
            "ResourceARN": made["Association"]["ResourceARN"],
        }


class Subscription(_Resource, CloudFormationModel):
    """Who is told by a topic: a queue is sent its messages, mail is recorded and never sent."""

    TYPE = "AWS::SNS::Subscription"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One subscription."""
        taken = {name: properties[name] for name in ("TopicArn", "Protocol", "Endpoint") if name in properties}
        attributes = {"RawMessageDelivery": "true"} if properties.get("RawMessageDelivery") else {}
        made = connect("sns").subscribe(**taken, Attributes=attributes, ReturnSubscriptionArn=True)
        self.physical_resource_id = made["SubscriptionArn"]
        self.attributes = {"Arn": made["SubscriptionArn"]}


class Secret(_Resource, CloudFormationModel):
    """A password that nobody has to know; moto has the service, but not its type."""

    TYPE = "AWS::SecretsManager::Secret"

    def create(self, properties: Json, connect: Callable[[str], Client]) -> None:
        """One secret, its text generated where the template asks for that."""
        secrets = connect("secretsmanager")
        asked = properties.get("GenerateSecretString", {})
        rules = {name: asked[name] for name in ("ExcludePunctuation", "PasswordLength") if name in asked}
        text = properties.get("SecretString") or secrets.get_random_password(**rules)["RandomPassword"]
        made = secrets.create_secret(Name=properties.get("Name", f"secret-{uuid.uuid4()}"), SecretString=text)
        self.physical_resource_id = made["ARN"]
        self.attributes = {"Id": made["ARN"]}
