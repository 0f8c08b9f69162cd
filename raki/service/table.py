"""A DynamoDB table as the ledger uses it: items by key, and writes that happen only under a condition."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.client import BaseClient
from botocore.exceptions import ClientError

Item = dict[str, Any]
KEY = "scan_id"


class Table:
    """One table. Raises botocore's ClientError where DynamoDB refuses for any reason but a condition."""

    def __init__(self, client: BaseClient, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: str) -> Item | None:
        """The item as it is now (a consistent read), or None."""
        answer = self._client.get_item(TableName=self._name, Key=_serialised({KEY: key}), ConsistentRead=True)
        return _deserialised(answer["Item"]) if "Item" in answer else None

    def scan(self) -> Iterator[Item]:
        """All items, in no order."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True):
            yield from (_deserialised(item) for item in page["Items"])

    def put(self, item: Mapping[str, Any], *, condition: str, values: Mapping[str, Any]) -> bool:
        """Writes a whole item; False when the condition doesn't hold for what is there."""
        return self._conditionally(
            "put_item",
            Item=_serialised(item),
            ConditionExpression=condition,
            **_unless_empty("ExpressionAttributeNames", _placeholders(condition)),
            **_unless_empty("ExpressionAttributeValues", _serialised(values)),
        )

    def update(
        self,
        key: str,
        changes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any],
        counts: Mapping[str, int] = MappingProxyType({}),
        first: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """Sets some attributes, those of `first` where they aren't set, and adds to others; False unless `condition`.

        In the condition `#name` stands for the attribute, `:name` for one of `values`.
        """
        assignments = [f"#{name} = :set_{name}" for name in changes]
        assignments += [f"#{name} = if_not_exists(#{name}, :set_{name})" for name in first]
        setting = "SET " + ", ".join(assignments)
        adding = " ADD " + ", ".join(f"#{name} :add_{name}" for name in counts) if counts else ""
        new = {f":set_{name}": value for name, value in {**changes, **first}.items()}
        new |= {f":add_{name}": n for name, n in counts.items()}
        return self._conditionally(
            "update_item",
            Key=_serialised({KEY: key}),
            UpdateExpression=setting + adding,
            ConditionExpression=condition,
            ExpressionAttributeNames={f"#{name}": name for name in [*changes, *first, *counts]}
            | _placeholders(condition),
            ExpressionAttributeValues=_serialised({**values, **new}),
        )

    def replace(self, item: Mapping[str, Any]) -> None:
        """Writes a whole item, whatever is there."""
        self._client.put_item(TableName=self._name, Item=_serialised(item))

    def add(self, key: str, counts: Mapping[str, int]) -> None:
        """Adds to an item's counters, which start at zero."""
        self._client.update_item(
            TableName=self._name,
            Key=_serialised({KEY: key}),
            UpdateExpression="ADD " + ", ".join(f"#{name} :{name}" for name in counts),
            ExpressionAttributeNames={f"#{name}": name for name in counts},
            ExpressionAttributeValues=_serialised({f":{name}": count for name, count in counts.items()}),
        )

    def include(self, key: str, member: str, *, expires_at: int | None = None) -> None:
        """Adds to an item's set of words; DynamoDB may remove the item from `expires_at` on, in seconds since 1970."""
        expires = {} if expires_at is None else {":expires_at": expires_at}
        self._client.update_item(
            TableName=self._name,
            Key=_serialised({KEY: key}),
            UpdateExpression="ADD members :member" + (" SET expires_at = :expires_at" if expires else ""),
            ExpressionAttributeValues=_serialised({":member": {member}, **expires}),
        )

    def included(self, key: str) -> set[str]:
        """An item's set of words; empty where there is no such item."""
        return set((self.get(key) or {}).get("members", ()))

    def count(self, key: str, *, up: bool) -> int:
        """Adds one to an item's counter, or sets it to zero; returns the count."""
        answer = self._client.update_item(
            TableName=self._name,
            Key=_serialised({KEY: key}),
            UpdateExpression="ADD n :n" if up else "SET n = :n",
            ExpressionAttributeValues=_serialised({":n": 1 if up else 0}),
            ReturnValues="ALL_NEW",
        )
        return int(_deserialised(answer["Attributes"])["n"])

    def _conditionally(self, call: str, **arguments: Any) -> bool:
        try:
            getattr(self._client, call)(TableName=self._name, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _placeholders(condition: str) -> dict[str, str]:
    """Names for a condition's `#name`s, some of which ("state", "owner") DynamoDB keeps for itself."""
    used = {word.strip("(),#") for word in condition.split() if word.lstrip("(").startswith("#")}
    return {f"#{name}": name for name in sorted(used)}


def _unless_empty(parameter: str, values: Item) -> Item:
    """DynamoDB refuses an empty set of names or values."""
    return {parameter: values} if values else {}


def _serialised(values: Mapping[str, Any]) -> Item:
    serialise = TypeSerializer().serialize
    return {name: serialise(str(value) if isinstance(value, StrEnum) else value) for name, value in values.items()}


def _deserialised(item: Mapping[str, Any]) -> Item:
    deserialise = TypeDeserializer().deserialize
    return {name: deserialise(value) for name, value in item.items()}
