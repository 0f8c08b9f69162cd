"""A store of models as the bucket that `raki:models` names, which on AWS is there before the deployment."""

from pathlib import Path

from infra.local.account import Client
from infra.local.deploy.deployment import create_bucket
from raki.errors import BadModel
from raki.models import Store
from raki.service.model_objects import place_of, upload

PLACE = "s3://raki-models/store"
"""What the deployment is told."""


def put_store(store: Path, s3: Client) -> list[str]:
    """Puts all models of a store's folder there; their names with version and digest.

    Raises:
        BadModel: one isn't as it should be.
    """
    bucket, prefix = place_of(PLACE)
    create_bucket(s3, bucket)
    put = []
    for kept in Store(root=store).each():
        if isinstance(kept, BadModel):
            raise kept
        upload(s3, bucket, f"{prefix}{kept.document.name}/{kept.document.version}/", kept.folder)
        put.append(kept.pinned)
    return put
