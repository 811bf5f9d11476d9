"""The image's own account of what is in it, `/etc/odooops/manifest.json`."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Permanent
from ..facts import Addon, ImageManifest

PATH = "/etc/odooops/manifest.json"
SCHEMA = 1
OWNER = 10019  # of every container's processes; an image does not choose whose files it may touch
BYTES_MAX = 32 * 1024 * 1024


def unpack(chunks: Iterable[bytes], image: str) -> bytes:
    """Return the one file of a tar archive that Docker made."""
    archive = io.BytesIO()
    for chunk in chunks:
        if archive.tell() + len(chunk) > BYTES_MAX:
            raise Permanent(f"The manifest of {image} is larger than {BYTES_MAX >> 20} MiB; build the image again.")
        archive.write(chunk)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as tar:
        member = tar.next()
        content = tar.extractfile(member) if member and member.isfile() else None
        if content is None:
            raise Permanent(f"{PATH} of {image} is no plain file; build the image again.", code="no_manifest")
        return content.read()


def parse(text: bytes, image: str) -> ImageManifest:
    """Return the manifest as a value. Raises Permanent when it is of another schema or broken."""
    try:
        value: Mapping[str, Any] = json.loads(text)
        if value.get("schema") != SCHEMA:
            raise Permanent(
                f"{image} has a manifest of schema {value.get('schema')}; update the agent.", code="no_manifest"
            )
        if (value["uid"], value["gid"]) != (OWNER, OWNER):
            raise Permanent(
                f"{image} wants to run as {value['uid']}:{value['gid']} instead of {OWNER}:{OWNER}; "
                "build it with the Dockerfile in docker/odoo.",
                code="wrong_user",
            )
        return ImageManifest(
            series=str(value["series"]),
            commit_sha=str(value["commit_sha"]),
            uid=int(value["uid"]),
            gid=int(value["gid"]),
            addons_paths=tuple(value["addons_paths"]),
            addons={str(name): _addon(addon) for name, addon in value["addons"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Permanent(
            f"The manifest of {image} can't be read ({error!r}); build the image again.", code="no_manifest"
        ) from error


def _addon(value: Mapping[str, Any]) -> Addon:
    return Addon(
        version=str(value["version"]),
        origin=str(value["origin"]),
        depends=tuple(value.get("depends") or ()),
        auto_install=bool(value.get("auto_install")),
        hash=value.get("hash"),
        i18n=dict(value.get("i18n") or {}),
        migrations=tuple(value.get("migrations") or ()),
    )
