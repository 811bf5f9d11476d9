"""Put the real parts together: the one place that knows every adapter."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from .certificates import leads_here
from .errors import Permanent
from .ports import Uploads
from .secrets import PasswordStore
from .settings import Settings, exceptions_root
from .steps import Ports

MAINTENANCE_TIMEOUT_SECONDS = 60


def password_store(settings: Settings) -> PasswordStore:
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return PasswordStore(settings.state_dir / "passwords.json")


def real_ports(settings: Settings, passwords: PasswordStore, uploads: Uploads | None = None) -> Ports:
    """Return the adapters; nothing is asked of the outside yet.

    :param uploads: the running agent's own connection to the console; others upload nothing.
    """
    # Imported here: `plan` and `status` need neither Docker's library nor PostgreSQL's.
    import docker

    from .database import PostgresDatabase
    from .exceptions import ExceptionFiles
    from .filestore import LocalFilestore
    from .intake import LocalIntake
    from .proxy import AdminSocket, CaddyProxy
    from .relay import Relay
    from .runtime.docker import DockerRuntime
    from .sealing import SealingKey
    from .targets import Targets
    from .vault import ResticVault
    from .workspace import LocalWorkspace

    def login_of(database: str) -> tuple[str, str] | None:
        role = f"{database.partition('__')[0]}_upgrade"  # a copy's is that of what it is a copy of
        password = passwords.find(role)
        return (role, password.reveal()) if password else None

    targets = Targets(settings.targets_dir)
    shelf = settings.state_dir / "manifests"
    client = docker.DockerClient.from_env(timeout=MAINTENANCE_TIMEOUT_SECONDS)
    admin = AdminSocket(Path(urlsplit(settings.caddy_admin).path))
    return Ports(
        runtime=DockerRuntime(client, settings.stack, settings.data_root, targets, settings.attach, shelf),
        proxy=CaddyProxy(
            admin, settings.state_dir, targets, leads_here=lambda host: leads_here(host, settings.public_addresses)
        ),
        database=PostgresDatabase(settings.pg_dsn.reveal(), settings.pg_quota_bytes, login_of),
        filestore=LocalFilestore(settings.data_root),
        vault=ResticVault(
            settings.state_dir,
            settings.backup_dir,
            SealingKey(settings.state_dir / "sealing.key").open,
            passwords.redactor,
        ),
        workspace=LocalWorkspace(settings.data_root),
        door=Relay(settings.pg_dsn.reveal()),
        exceptions=ExceptionFiles(exceptions_root()),
        intake=LocalIntake(settings.import_dir),
        uploads=uploads or _NoConsole(),
    )


class _NoConsole:
    """In the place of uploads where no agent runs."""

    def send(self, operation_id: int, token: int, offset: int, data: bytes) -> None:
        raise Permanent("There is no console to upload to: only `odooops-agent run` does.")
