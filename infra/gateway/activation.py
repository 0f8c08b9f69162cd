"""The activation of the gateway on EC2, which CloudFormation has no type for: a custom resource and its handler."""

from aws_cdk import CustomResource, Duration, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.network.stack import NetworkStack
from infra.permissions import allow
from infra.storage.stack import StorageStack


class Activation(Construct):
    """Activates the appliance at `address`, adds its cache and sets the guests' password where the share is SMB.

    Args:
        endpoint: the name of Storage Gateway's interface endpoint, where there is no other way to it.
        group: the handler's, which the appliance lets in.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        address: str,
        deployment: Deployment,
        endpoint: str | None,
        group: ec2.SecurityGroup,
        network: NetworkStack,
        storage: StorageStack,
    ) -> None:
        super().__init__(scope, construct_id)
        self.handler = Handler(
            self,
            "Handler",
            name="activate_gateway",
            environment={"AWS_ENDPOINT_URL_STORAGE_GATEWAY": f"https://{endpoint}"} if endpoint else {},
            key=storage.operations_key,
            security_group=group,
            timeout=Duration.minutes(15),
            vpc=network.vpc,
            vpc_subnets=network.private,
        )
        # It answers for its own errors, and a gateway is activated once.
        self.handler.function.configure_async_invoke(retry_attempts=0)
        _let_join_network(self.handler.role)
        self._let_activate()
        properties = self._properties(address, endpoint)
        if deployment.share_protocol == "smb":
            properties["GuestSecret"] = self._add_guest_secret(storage)
        gateway = CustomResource(
            self,
            "Gateway",
            properties=properties,
            resource_type="Custom::FileGateway",
            service_timeout=Duration.minutes(16),  # a minute more than the handler has
            service_token=self.handler.function.function_arn,
        )
        gateway.node.add_dependency(self.handler, group)
        self.gateway_arn = gateway.get_att_string("GatewayARN")

    def _properties(self, address: str, endpoint: str | None) -> dict[str, str]:
        properties = {
            "Address": address,
            "Name": Stack.of(self).stack_name,
            "Region": Stack.of(self).region,
            "TimeZone": "GMT",  # of the maintenance window; Storage Gateway knows offsets only, not summer time
        }
        return {**properties, "VpcEndpoint": endpoint} if endpoint else properties

    def _gateways(self) -> str:
        """The account's gateways here. The one that is activated has no name before, and no other is asked for."""
        return Stack.of(self).format_arn(service="storagegateway", resource="gateway", resource_name="*")

    def _let_activate(self) -> None:
        allow(self.handler.role, "storagegateway:ActivateGateway", on=["*"])  # what isn't activated has no ARN
        allow(
            self.handler.role,
            *("storagegateway:AddCache", "storagegateway:DeleteGateway", "storagegateway:ListLocalDisks"),
            on=[self._gateways()],
        )

    def _add_guest_secret(self, storage: StorageStack) -> str:
        """The password of all guests, generated; whoever may read the secret may mount the share. Returns its ARN."""
        secret = secretsmanager.CfnSecret(
            self,
            "GuestPassword",
            description="raki: password of the user smbguest on the file gateway",
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                exclude_punctuation=True, password_length=32
            ),
            kms_key_id=storage.data_key.key_arn,
        )
        role = self.handler.role
        allow(role, "secretsmanager:GetSecretValue", on=[secret.ref])
        via = {"StringEquals": {"kms:ViaService": f"secretsmanager.{Stack.of(self).region}.amazonaws.com"}}
        role.add_to_policy(
            iam.PolicyStatement(actions=["kms:Decrypt"], conditions=via, resources=[storage.data_key.key_arn])
        )
        allow(role, "storagegateway:SetSMBGuestPassword", on=[self._gateways()])
        return secret.ref


def _let_join_network(role: iam.Role) -> None:
    """Lambda connects a function to a network in the name of its role, by interfaces that have no ARN before."""
    allow(
        role,
        *("ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"),
        *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"),
        on=["*"],
    )
