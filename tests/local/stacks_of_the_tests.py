"""A CDK application with each type that a deployment on AWS needs, as the CDK's constructs write it.

Three stacks that refer to one another. Run as a program: CDK_OUTDIR says where the assembly goes, IMAGE and CODE are
the folders of an image and of the Lambdas.
"""

import os

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_fsx as fsx
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_storagegateway as storagegateway
from constructs import Construct

GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"


class Data(cdk.Stack):
    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.key = kms.Key(self, "Key", alias="tests/data", enable_key_rotation=True)
        self.queue_key = kms.Key(self, "QueueKey", enable_key_rotation=True)
        self.log_key = kms.Key(self, "LogKey", enable_key_rotation=True)
        self.log_key.grant_encrypt_decrypt(iam.ServicePrincipal("logs.us-east-1.amazonaws.com"))
        access_logs = s3.Bucket(self, "AccessLogs", encryption=s3.BucketEncryption.S3_MANAGED, enforce_ssl=True)
        kinds = {
            "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
            "bucket_key_enabled": True,
            "encryption": s3.BucketEncryption.KMS,
            "encryption_key": self.key,
            "enforce_ssl": True,
            "server_access_logs_bucket": access_logs,
        }
        self.raw = s3.Bucket(
            self,
            "Raw",
            **kinds,
            event_bridge_enabled=False,
            lifecycle_rules=[
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=cdk.Duration.days(3)),
                s3.LifecycleRule(
                    noncurrent_version_transitions=[
                        s3.NoncurrentVersionTransition(
                            storage_class=s3.StorageClass.DEEP_ARCHIVE, transition_after=cdk.Duration.days(30)
                        )
                    ],
                    tag_filters={"state": "done"},
                    transitions=[
                        s3.Transition(
                            storage_class=s3.StorageClass.DEEP_ARCHIVE, transition_after=cdk.Duration.days(30)
                        )
                    ],
                ),
            ],
            object_lock_default_retention=s3.ObjectLockRetention.compliance(cdk.Duration.days(1)),
            object_lock_enabled=True,
            versioned=True,
        )
        self.prepared = s3.Bucket(
            self,
            "Prepared",
            **kinds,
            lifecycle_rules=[
                s3.LifecycleRule(expiration=cdk.Duration.days(21), noncurrent_version_expiration=cdk.Duration.days(1))
            ],
            versioned=True,
        )
        self.results = s3.Bucket(
            self,
            "Results",
            **kinds,
            intelligent_tiering_configurations=[
                s3.IntelligentTieringConfiguration(name="all", archive_access_tier_time=cdk.Duration.days(90))
            ],
        )
        self.results.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                resources=[self.results.arn_for_objects("*")],
            )
        )
        self.queue = self._queue("Queue")
        self.raw.add_event_notification(s3.EventType.OBJECT_CREATED, notifications.SqsDestination(self.queue))
        self.table = dynamodb.Table(
            self,
            "Table",
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.key,
            partition_key=dynamodb.Attribute(name="scan_id", type=dynamodb.AttributeType.STRING),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            time_to_live_attribute="expires",
        )
        self.table.add_global_secondary_index(
            index_name="by-state",
            partition_key=dynamodb.Attribute(name="state", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="at", type=dynamodb.AttributeType.STRING),
        )
        self.topic = sns.Topic(self, "Topic", enforce_ssl=True, master_key=self.queue_key)
        self.topic.add_subscription(subscriptions.EmailSubscription("somebody@example.org"))
        ssm.StringParameter(self, "Parameter", string_value=self.raw.bucket_name, parameter_name="/tests/raw")
        trail = cloudtrail.Trail(self, "Trail", bucket=access_logs, encryption_key=self.key)
        trail.add_s3_event_selector([cloudtrail.S3EventSelector(bucket=self.raw)])
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=100, unit="USD"),
            ),
        )
        for name, value in {
            "RawBucket": self.raw.bucket_name,
            "PreparedBucket": self.prepared.bucket_name,
            "ResultsBucket": self.results.bucket_name,
            "QueueUrl": self.queue.queue_url,
            "KeyArn": self.key.key_arn,
            "KeyId": self.key.key_id,
            "TopicArn": self.topic.topic_arn,
            "TableName": self.table.table_name,
        }.items():
            cdk.CfnOutput(self, name, value=value)

    def _queue(self, name: str) -> sqs.Queue:
        properties = {
            "encryption": sqs.QueueEncryption.KMS,
            "encryption_master_key": self.queue_key,
            "data_key_reuse": cdk.Duration.hours(1),
            "enforce_ssl": True,
        }
        dead_letters = sqs.Queue(self, f"{name}DeadLetters", **properties)
        return sqs.Queue(
            self, name, **properties, dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=3)
        )


class Network(cdk.Stack):
    def __init__(self, scope: Construct, construct_id: str, *, data: Data) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
                "DynamoDb": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
            },
            max_azs=2,
            nat_gateways=0,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="Private", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
                ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC),
            ],
        )
        self.private = ec2.SubnetSelection(subnets=self.vpc.isolated_subnets)
        self.pinned = ec2.SubnetSelection(subnets=self.vpc.isolated_subnets[:1])
        self.group = ec2.SecurityGroup(self, "Group", vpc=self.vpc, allow_all_outbound=False)
        endpoint_group = ec2.SecurityGroup(self, "Endpoints", vpc=self.vpc, allow_all_outbound=False)
        endpoint_group.connections.allow_from(self.group, ec2.Port.tcp(443), "the workers")
        for name in ("SQS", "ECS", "LAMBDA_"):
            self.vpc.add_interface_endpoint(
                name,
                open=False,
                security_groups=[endpoint_group],
                service=getattr(ec2.InterfaceVpcEndpointAwsService, name),
                subnets=self.private,
            )
        group = logs.LogGroup(self, "FlowLogs", encryption_key=data.log_key, retention=logs.RetentionDays.ONE_MONTH)
        self.vpc.add_flow_log("Flow", destination=ec2.FlowLogDestination.to_cloud_watch_logs(group))
        self.file_system = self._file_system(data)

    def _file_system(self, data: Data) -> fsx.LustreFileSystem:
        group = ec2.SecurityGroup(self, "LustreGroup", vpc=self.vpc, allow_all_outbound=False)
        file_system = fsx.LustreFileSystem(
            self,
            "FileSystem",
            file_system_type_version=fsx.FileSystemTypeVersion.V_2_15,
            lustre_configuration=fsx.LustreConfiguration(
                data_compression_type=fsx.LustreDataCompressionType.LZ4,
                deployment_type=fsx.LustreDeploymentType.SCRATCH_2,
            ),
            removal_policy=cdk.RemovalPolicy.DESTROY,
            security_group=group,
            storage_capacity_gib=1200,
            vpc=self.vpc,
            vpc_subnet=(self.pinned.subnets or [])[0],
        )
        file_system.connections.allow_default_port_from(self.group)
        fsx.CfnDataRepositoryAssociation(
            self,
            "Link",
            batch_import_meta_data_on_create=True,
            data_repository_path=f"s3://{data.prepared.bucket_name}/prepared/",
            file_system_id=file_system.file_system_id,
            file_system_path="/prepared",
            s3=fsx.CfnDataRepositoryAssociation.S3Property(
                auto_import_policy=fsx.CfnDataRepositoryAssociation.AutoImportPolicyProperty(
                    events=["NEW", "CHANGED", "DELETED"]
                )
            ),
        )
        cdk.CfnOutput(self, "FileSystemId", value=file_system.file_system_id)
        cdk.CfnOutput(self, "MountName", value=file_system.mount_name)
        cdk.CfnOutput(self, "DnsName", value=file_system.dns_name)
        return file_system


class Work(cdk.Stack):
    def __init__(self, scope: Construct, construct_id: str, *, data: Data, network: Network) -> None:
        super().__init__(scope, construct_id)
        self.data, self.network = data, network
        self._add_jobs()
        self._add_workers()
        self._add_functions()
        self._add_watching()
        self._add_shares()
        self._add_development()

    def _add_jobs(self) -> None:
        user_data = ec2.MultipartUserData()
        script = ec2.UserData.for_linux()
        script.add_commands(f"mount -t lustre {self.network.file_system.dns_name}@tcp:/x /fsx")
        user_data.add_user_data_part(script, 'text/x-shellscript; charset="us-ascii"', True)
        instance_role = iam.Role(
            self,
            "InstanceRole",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonEC2ContainerServiceforEC2Role")
            ],
        )
        template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            block_devices=[
                ec2.BlockDevice(device_name="/dev/xvda", volume=ec2.BlockDeviceVolume.ebs(60, encrypted=True))
            ],
            http_tokens=ec2.LaunchTemplateHttpTokens.REQUIRED,
            user_data=user_data,
        )
        environments = [
            batch.ManagedEc2EcsComputeEnvironment(
                self,
                name,
                images=[batch.EcsMachineImage(image_type=batch.EcsMachineImageType.ECS_AL2023_NVIDIA)],
                instance_role=instance_role,
                instance_types=[ec2.InstanceType("g6.xlarge")],
                launch_template=template,
                security_groups=[self.network.group],
                spot=name == "Spot",
                use_optimal_instance_classes=False,
                vpc=self.network.vpc,
                vpc_subnets=self.network.pinned,
            )
            for name in ("Spot", "OnDemand")
        ]
        for environment in environments:
            environment.node.default_child.add_property_override(
                "ComputeResources.LaunchTemplate.Version", template.latest_version_number
            )
            environment.node.default_child.add_property_override(
                "ComputeResources.ScalingPolicy", {"MinScaleDownDelayMinutes": 20}
            )
        queue = batch.JobQueue(
            self,
            "JobQueue",
            compute_environments=[
                batch.OrderedComputeEnvironment(compute_environment=environment, order=order)
                for order, environment in enumerate(environments, 1)
            ],
            job_state_time_limit_actions=[
                batch.JobStateTimeLimitAction(
                    max_time=cdk.Duration.hours(2),
                    reason=batch.JobStateTimeLimitActionsReason.INSUFFICIENT_INSTANCE_CAPACITY,
                )
            ],
        )
        container = batch.EcsEc2ContainerDefinition(
            self,
            "Container",
            command=["list"],
            cpu=4,
            environment={"FOLDER": "/fsx/prepared", "TMPDIR": "/scratch", "TABLE": self.data.table.table_name},
            gpu=1,
            image=ecs.ContainerImage.from_asset(os.environ["IMAGE"]),
            linux_parameters=batch.LinuxParameters(self, "Linux", shared_memory_size=cdk.Size.mebibytes(512)),
            logging=ecs.LogDrivers.aws_logs(stream_prefix="job", log_group=self._log_group("JobLogs")),
            memory=cdk.Size.mebibytes(14_000),
            readonly_root_filesystem=True,
            volumes=[
                batch.EcsVolume.host(name="fsx", container_path="/fsx", host_path="/fsx", readonly=True),
                batch.EcsVolume.host(name="scratch", container_path="/scratch", host_path="/mnt/nvme/scratch"),
            ],
        )
        job = batch.EcsJobDefinition(
            self,
            "Job",
            container=container,
            propagate_tags=True,
            retry_attempts=1,
            timeout=cdk.Duration.minutes(2),
        )
        cdk.CfnOutput(self, "JobQueueArn", value=queue.job_queue_arn)
        cdk.CfnOutput(self, "JobArn", value=job.job_definition_arn)

    def _add_workers(self) -> None:
        cluster = ecs.Cluster(
            self,
            "Cluster",
            container_insights_v2=ecs.ContainerInsights.ENHANCED,
            vpc=self.network.vpc,
        )
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=1024,
            ephemeral_storage_gib=100,
            memory_limit_mib=2048,
            runtime_platform=ecs.RuntimePlatform(cpu_architecture=ecs.CpuArchitecture.ARM64),
        )
        task.add_volume(name="scratch")
        worker = task.add_container(
            "Worker",
            command=["list"],
            image=ecs.ContainerImage.from_asset(os.environ["IMAGE"]),
            linux_parameters=ecs.LinuxParameters(self, "TaskLinux", init_process_enabled=True),
            logging=ecs.LogDrivers.aws_logs(stream_prefix="worker", log_group=self._log_group("WorkerLogs")),
            readonly_root_filesystem=True,
        )
        worker.add_mount_points(ecs.MountPoint(container_path="/scratch", read_only=False, source_volume="scratch"))
        service = ecs.FargateService(
            self,
            "Service",
            capacity_provider_strategies=[ecs.CapacityProviderStrategy(capacity_provider="FARGATE", weight=1)],
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            cluster=cluster,
            desired_count=0,
            enable_ecs_managed_tags=True,
            min_healthy_percent=0,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            security_groups=[self.network.group],
            task_definition=task,
            vpc_subnets=self.network.private,
        )
        cdk.CfnOutput(self, "ServiceName", value=service.service_name)
        cdk.CfnOutput(self, "ClusterName", value=cluster.cluster_name)

    def _function(self, name: str, handler: str, **properties: object) -> lambda_.Function:
        return lambda_.Function(
            self,
            name,
            code=lambda_.Code.from_asset(os.environ["CODE"]),
            environment={"RESULTS_BUCKET": self.data.results.bucket_name},
            environment_encryption=self.data.key,
            handler=f"functions.{handler}",
            log_group=self._log_group(f"{name}Logs"),
            runtime=lambda_.Runtime.PYTHON_3_13,
            timeout=cdk.Duration.seconds(30),
            tracing=lambda_.Tracing.ACTIVE,
            **properties,
        )

    def _add_functions(self) -> None:
        dead_letters = sqs.Queue(
            self, "FunctionDeadLetters", encryption=sqs.QueueEncryption.KMS, encryption_master_key=self.data.queue_key
        )
        consume = self._function(
            "Consume",
            "consume",
            dead_letter_queue=dead_letters,
            reserved_concurrent_executions=2,
            security_groups=[self.network.group],
            vpc=self.network.vpc,
            vpc_subnets=self.network.private,
        )
        consume.add_event_source(
            sources.SqsEventSource(self.data.queue, max_concurrency=2, report_batch_item_failures=True)
        )
        answer = self._function("Answer", "answer")
        custom = cdk.CustomResource(
            self,
            "Custom",
            properties={"Yes": True, "Number": 3},
            resource_type="Custom::Answer",
            service_token=answer.function_arn,
        )
        cdk.CfnOutput(self, "CustomAnswer", value=custom.get_att_string("Answer"))
        scheduler.Schedule(
            self,
            "Nightly",
            schedule=scheduler.ScheduleExpression.cron(hour="3", time_zone=cdk.TimeZone.EUROPE_BERLIN),
            target=scheduler_targets.LambdaInvoke(answer),
        )

    def _add_watching(self) -> None:
        uploaded = sqs.Queue(
            self, "Uploaded", encryption=sqs.QueueEncryption.KMS, encryption_master_key=self.data.queue_key
        )
        events.Rule(
            self,
            "Uploads",
            event_pattern=events.EventPattern(
                detail_type=["Storage Gateway Object Upload Event"], source=["aws.storagegateway"]
            ),
            targets=[targets.SqsQueue(uploaded), targets.SnsTopic(self.data.topic)],
        )
        blocked = events.Rule(
            self,
            "Blocked",
            event_pattern=events.EventPattern(detail_type=["Batch Job Queue Blocked"], source=["aws.batch"]),
        )
        blocked.add_target(
            targets.SnsTopic(
                self.data.topic, message=events.RuleTargetInput.from_text("a job waits for a GPU that does not come")
            )
        )
        alarm = self.data.queue.metric_approximate_number_of_messages_visible().create_alarm(
            self, "Alarm", evaluation_periods=1, threshold=1
        )
        alarm.add_alarm_action(actions.SnsAction(self.data.topic))
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            widgets=[
                [
                    cloudwatch.GraphWidget(
                        left=[self.data.queue.metric_approximate_number_of_messages_visible()], title="waiting"
                    ),
                    cloudwatch.AlarmStatusWidget(alarms=[alarm]),
                ]
            ],
        )
        cdk.CfnOutput(self, "UploadedUrl", value=uploaded.queue_url)

    def _add_shares(self) -> None:
        role = iam.Role(self, "GatewayRole", assumed_by=iam.ServicePrincipal("storagegateway.amazonaws.com"))
        common = {"gateway_arn": GATEWAY_ARN, "role": role.role_arn}
        nfs = storagegateway.CfnNFSFileShare(
            self,
            "NfsShare",
            **common,
            client_list=["127.0.0.1/32"],
            encryption_type="SseKms",
            file_share_name="raw",
            kms_key=self.data.key.key_arn,
            location_arn=self.data.raw.bucket_arn,
            notification_policy='{"Upload": {"SettlingTimeInSeconds": 60}}',
        )
        smb = storagegateway.CfnSMBFileShare(
            self,
            "SmbShare",
            **common,
            authentication="GuestAccess",
            file_share_name="results",
            location_arn=f"{self.data.results.bucket_arn}/exams/",
            read_only=True,
        )
        cdk.CfnOutput(self, "NfsShareArn", value=nfs.attr_file_share_arn)
        cdk.CfnOutput(self, "SmbShareArn", value=smb.attr_file_share_arn)
        instance = ec2.Instance(
            self,
            "Gateway",
            block_devices=[
                ec2.BlockDevice(device_name="/dev/sdb", volume=ec2.BlockDeviceVolume.ebs(150, encrypted=True))
            ],
            instance_type=ec2.InstanceType("m5.xlarge"),
            machine_image=ec2.MachineImage.from_ssm_parameter("/aws/service/storagegateway/ami/FILE_S3/latest"),
            require_imdsv2=True,
            security_group=self.network.group,
            vpc=self.network.vpc,
            vpc_subnets=self.network.pinned,
        )
        cdk.CfnOutput(self, "GatewayAddress", value=instance.instance_private_ip)

    def _add_development(self) -> None:
        repository = ecr.Repository(
            self,
            "Repository",
            encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=self.data.key,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=20)],
        )
        project = codebuild.Project(
            self,
            "Build",
            build_spec=codebuild.BuildSpec.from_object({"version": "0.2"}),
            encryption_key=self.data.key,
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.STANDARD_7_0,
                environment_variables={
                    "REPOSITORY": codebuild.BuildEnvironmentVariable(value=repository.repository_uri)
                },
                privileged=True,
            ),
            vpc=self.network.vpc,
            subnet_selection=self.network.private,
        )
        repository.grant_pull_push(project)
        notebook_role = iam.Role(self, "NotebookRole", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        configuration = sagemaker.CfnNotebookInstanceLifecycleConfig(
            self,
            "NotebookSetUp",
            on_start=[
                sagemaker.CfnNotebookInstanceLifecycleConfig.NotebookInstanceLifecycleHookProperty(
                    content=cdk.Fn.base64("#!/bin/bash")
                )
            ],
        )
        notebook = sagemaker.CfnNotebookInstance(
            self,
            "Notebook",
            instance_type="ml.g4dn.xlarge",
            kms_key_id=self.data.key.key_id,
            lifecycle_config_name=configuration.attr_notebook_instance_lifecycle_config_name,
            role_arn=notebook_role.role_arn,
            security_group_ids=[self.network.group.security_group_id],
            subnet_id=(self.network.pinned.subnets or [])[0].subnet_id,
        )
        cdk.CfnOutput(self, "NotebookName", value=notebook.attr_notebook_instance_name)
        cdk.CfnOutput(self, "RepositoryUri", value=repository.repository_uri)
        cdk.CfnOutput(self, "ProjectName", value=project.project_name)

    def _log_group(self, name: str) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            name,
            encryption_key=self.data.log_key,
            removal_policy=cdk.RemovalPolicy.DESTROY,
            retention=logs.RetentionDays.THREE_MONTHS,
        )


if __name__ == "__main__":
    app = cdk.App()
    cdk.Tags.of(app).add("project", "tests")
    data = Data(app, "Data")
    network = Network(app, "Network", data=data)
    Work(app, "Work", data=data, network=network)
    app.synth()
