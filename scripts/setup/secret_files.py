"""Passwords that the set-up makes: one file each in `.run/secrets`, readable by their owner only."""

import os
import secrets

from . import paths

NAMES = (
    "control_admin_password",
    "control_db_password",
    "control_db_superuser_password",
    "customers_db_password",
    "customers_db_superuser_password",
)
# In the folder of GitHub's secrets: without one the console takes no webhook in.
GITHUB_WEBHOOK = "github/webhook_secret"
AGENT_KEY = "agent.key"
PG_DSN = "pg_dsn"


def ensure():
    """Make the passwords that are missing."""
    for name in (*NAMES, GITHUB_WEBHOOK):
        if not (paths.SECRETS / name).exists():
            write(name, secrets.token_urlsafe(24))


def read(name):
    """Return a secret by its file's name."""
    return (paths.SECRETS / name).read_text().strip()


def write(name, text):
    """Write a secret's file; it is never readable by others, not for a moment."""
    paths.SECRETS.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = paths.SECRETS / name
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path
