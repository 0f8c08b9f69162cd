"""Questions to the logs, saved in CloudWatch Logs Insights under the folder `raki`."""

from collections.abc import Sequence
from typing import NamedTuple

from aws_cdk import aws_logs as logs
from constructs import Construct


class LogQuery(NamedTuple):
    """A saved query. A word in double braces in it is asked for when it is run."""

    name: str
    lines: tuple[str, ...]
    parameters: tuple[str, ...] = ()


WHERE_IS_A_SCAN = LogQuery(
    "raki/where is a scan",
    (
        "fields @timestamp, event, State, coalesce(Stage, stage) as in_stage, attempt, claim, remedy, "
        "coalesce(FailureClass, failure_class) as class, exception, at",
        "filter scan_id = '{{scan_id}}'",
        "sort @timestamp",
    ),
    parameters=("scan_id",),
)
FAILURES = LogQuery(
    "raki/failures",
    (
        "fields @timestamp, level, event, scan_id, stage, failure_class, exception, at, call, code",
        "filter level in ['WARNING', 'ERROR', 'CRITICAL']",
        "sort @timestamp desc",
        "limit 200",
    ),
)
"""Within the time that the console or the dashboard shows: the last day, for one."""


def save(scope: Construct, construct_id: str, query: LogQuery, log_groups: Sequence[logs.ILogGroup]) -> None:
    """Saves a query over log groups."""
    # The construct of the second level knows no parameters.
    logs.CfnQueryDefinition(
        scope,
        construct_id,
        log_group_names=[group.log_group_name for group in log_groups],
        name=query.name,
        parameters=[logs.CfnQueryDefinition.QueryParameterProperty(name=name) for name in query.parameters] or None,
        query_string="\n| ".join(query.lines),
    )
