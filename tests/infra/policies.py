"""Reads the templates' roles as a reviewer would: which role may do what, on what, under which condition."""

import re
from collections import defaultdict

HASH = re.compile(r"[0-9A-F]{8}(?=Arn|$|/|:)")


def permissions(templates):
    """For each role, by its path in the stack, the set of `action on resource [condition]` that it is allowed."""
    allowed = defaultdict(set)
    for template in templates.values():
        for name, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::IAM::Role":
                documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
                allowed[plain(name)] |= {line for document in documents for line in lines(document)}
                allowed[plain(name)] |= {f"managed {readable(arn)}" for arn in properties.get("ManagedPolicyArns", [])}
            elif resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
                for role in properties.get("Roles", []):
                    allowed[readable(role)] |= set(lines(properties["PolicyDocument"]))
    return dict(allowed)


def lines(document):
    """The statements of one policy, an action and a resource a line."""
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow", statement
        assert not {"NotAction", "NotResource"} & set(statement), statement
        condition = readable_condition(statement.get("Condition", {}))
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                yield f"{action} on {readable(resource)}{condition}"


def readable_condition(condition):
    """` via s3` for the use of a key through one service; every other condition by its name and value."""
    words = []
    for operator, tests in sorted(condition.items()):
        for key, value in sorted(tests.items()):
            if key == "kms:ViaService":
                words.append("via " + readable(value).partition(".")[0])
            else:
                words.append(f"{operator} {key} {readable(value)}")
    return "".join(f" {word}" for word in words)


def readable(value):
    """A resource's name as it is written in the code, instead of the intrinsic functions that stand for it."""
    if isinstance(value, list):
        return ",".join(map(readable, value))
    if not isinstance(value, dict):
        return str(value)
    ((function, argument),) = value.items()
    if function == "Ref":
        return plain(argument)
    if function == "Fn::GetAtt":
        return plain(argument[0])
    if function == "Fn::ImportValue":
        return plain(re.sub(r"^.*ExportsOutput(Ref|FnGetAtt)", "", argument))
    if function == "Fn::Join":
        return "".join(map(readable, argument[1]))
    return f"{function}({readable(argument)})"


def plain(logical_id):
    """A logical id without the hashes that the CDK puts behind it."""
    name = logical_id.replace("AWS::", "")
    return re.sub(r"[0-9A-F]{8}(Arn\w*|[0-9A-F]{8})?$", "", name)


def as_list(value):
    """A policy's value, which may be one or several."""
    return value if isinstance(value, list) else [value]
