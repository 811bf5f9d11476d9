"""Where things stand: the repository, and the one folder that the set-up writes to."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = Path(os.environ.get("ODOOOPS_STATE_FOLDER", ROOT / ".run")).resolve()
DOWNLOADS = STATE / "downloads"
LOGS = STATE / "log"
BUILD = STATE / "build"
SECRETS = STATE / "secrets"
TOOLS = STATE / "tools"
DROPLET = STATE / "droplet"


def stack_name(state=STATE):
    """Return the prefix of every Docker object of this checkout, so that two checkouts don't collide."""
    return f"odooops-{hashlib.sha256(str(state).encode()).hexdigest()[:4]}"


def make_folders():
    """Make the state folder and its parts; secrets are for their owner only."""
    for folder in (DOWNLOADS, LOGS, BUILD, TOOLS, DROPLET):
        folder.mkdir(parents=True, exist_ok=True)
    SECRETS.mkdir(parents=True, exist_ok=True, mode=0o700)
