"""What an entry of an archive that somebody brought is, told by its name alone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..errors import Permanent

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
STORED = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{38})")
DUMP = re.compile(r"dump\.sql(\.gz)?|[^/]*\.(sql|sql\.gz|dump|backup)")
# What pg_dump --format=directory writes.
PART = re.compile(r"toc\.dat|[0-9]{1,9}\.dat(\.gz|\.lz4|\.zst)?|blobs(_[0-9]{1,9})?\.toc|blob_[0-9]{1,12}\.dat(\.gz)?")

CODE = "import_refused"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry goes: the dump, a part of one, or a file of the filestore."""

    kind: Literal["dump", "part", "file"]
    name: str = ""


def place(name: str) -> Place | None:
    """Return where an entry goes; None for what an environment has no use for.

    :raises Permanent: its name leads out of the archive, which no backup does.
    """
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        raise Permanent(f"The archive's entry {name[:80]!r} leads out of it: this is no backup of Odoo.", code=CODE)
    stored = "/".join(parts[-2:])
    if STORED.fullmatch(stored):
        return Place("file", stored)
    if DUMP.fullmatch(parts[-1]) and "filestore" not in parts[:-1]:
        return Place("dump")
    if PART.fullmatch(parts[-1]) and "filestore" not in parts[:-1]:
        return Place("part", parts[-1])
    return None


def require_file_name(name: str) -> str:
    """Return the name of what lies in the folder for imports. Raises Permanent."""
    if not FILE_NAME.fullmatch(name):
        raise Permanent(f"{name[:80]!r} is no file's name: give one of the droplet's folder for imports.", code=CODE)
    return name


class Budget:
    """How much may be unpacked: counted while it is written, whatever the archive says of itself."""

    # A dump shrinks to a tenth, an empty one a little more; what grows a thousandfold was made for that.
    RATIO = 200
    RATIO_FROM_BYTES = 64 << 20
    ENTRIES_MAX = 2_000_000

    def __init__(self, room_bytes: int, packed_bytes: int) -> None:
        self._room, self._packed = room_bytes, packed_bytes
        self.written, self.entries = 0, 0

    def enter(self) -> None:
        self.entries += 1
        if self.entries > self.ENTRIES_MAX:
            raise Permanent(
                f"The archive has more than {self.ENTRIES_MAX} entries: unpack it yourself, and bring dump and "
                "filestore apart.",
                code=CODE,
            )

    def write(self, count: int) -> None:
        """Count what is about to be written. Raises Permanent."""
        self.written += count
        if self.written > self._room:
            raise Permanent(
                f"What is brought unpacks to more than the {self._room >> 20} MB that the droplet has to spare: free "
                "some space.",
                code="disk_too_small",
            )
        if self.written > max(self.RATIO_FROM_BYTES, self.RATIO * self._packed):
            raise Permanent(
                f"The archive unpacks to more than {self.RATIO} times its size: this is no backup of Odoo.", code=CODE
            )
