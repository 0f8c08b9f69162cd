"""Which token stands for whom: a file that stays on site, and the only way back from a token to a person."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from filelock import FileLock

from raki.errors import PermanentError
from raki.identity.person import Identity
from raki.whole_file import whole_file

# Read and written by its owner alone.
OWNER_ONLY = 0o600
FIELDS = frozenset(field.name for field in fields(Identity))


class UnknownToken(PermanentError):
    """The token map has no identity for a token: it is another site's, or the map is not the one it was made with."""

    exit_code = 17


class DamagedTokenMap(PermanentError):
    """The token map is not what raki wrote; nothing is added to it before somebody has looked."""

    exit_code = 18


class TokenMap:
    """Tokens and identities in one JSON file. Many programs may use it at once; a crash leaves the old or the new file.

    Tokens are random: they tell nothing about whom they stand for. All scans of one patient in one study have the same
    token; a scan that names no patient has one of its own.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), mode=OWNER_ONLY)

    def token_for(self, identity: Identity) -> str:
        """The token of this patient and study; a new one, stored before it is returned, if there is none yet.

        Raises:
            DamagedTokenMap: the file is not a token map.
        """
        with self._lock:
            identities = self._read()
            token = _token_of(identities, identity) or _new_token(identities)
            # A later scan of the study may tell what an earlier one left out.
            completed = identities[token].completed(identity) if token in identities else identity
            if identities.get(token) != completed:
                self._write({**identities, token: completed})
        return token

    def identity_of(self, token: str) -> Identity:
        """The identity that the token stands for.

        Raises:
            UnknownToken: the map doesn't know it.
            DamagedTokenMap: the file is not a token map.
        """
        with self._lock:
            identities = self._read()
        if token not in identities:
            raise UnknownToken(
                f"a token that is not among the {len(identities)} of the token map was found; raki needs the map of "
                "the site that de-identified the scan: name that one"
            )
        return identities[token]

    def _read(self) -> dict[str, Identity]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise _damaged(type(error).__name__) from None
        if not isinstance(content, dict):
            raise _damaged("no object")
        return {token: _identity(stored) for token, stored in content.items()}

    def _write(self, identities: Mapping[str, Identity]) -> None:
        content = {token: identity.known for token, identity in identities.items()}
        with whole_file(self._path) as part, part.open("w", encoding="utf-8") as file:
            part.chmod(OWNER_ONLY)
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())


def _token_of(identities: Mapping[str, Identity], identity: Identity) -> str | None:
    key = identity.study_key
    if key is None:
        return None
    return next((token for token, known in identities.items() if known.study_key == key), None)


def _new_token(taken: Mapping[str, Identity]) -> str:
    while (token := f"raki-{secrets.token_hex(8)}") in taken:
        continue
    return token


def _identity(stored: object) -> Identity:
    if not isinstance(stored, dict) or not stored.keys() <= FIELDS or not all(map(_is_text, stored.values())):
        raise _damaged("an entry with other fields")
    return Identity(**stored)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _damaged(found: str) -> DamagedTokenMap:
    return DamagedTokenMap(
        f"the token map can't be read ({found}); raki needs the JSON file that it wrote: restore it from a copy"
    )
