"""Turn what the set-up found and chose into the variables and the Caddy configuration that Compose reads."""

import json
from dataclasses import dataclass

# By these names a person, a test and the agent's container reach the console.
CONSOLE_HOSTS = ("localhost", "127.0.0.1", "caddy")
CONSOLE_ID = "odooops-console"


@dataclass(frozen=True)
class Facts:
    """All that the variables depend on."""

    stack: str
    ports: dict  # by name, see ports.PREFERRED
    bind_address: str
    bridge_address: str
    postgres_image: str
    state: str
    data_root: str
    customers_db_password: str
    disk_bytes: int


def images(stack):
    """Return the project's own image names by what they are."""
    return {part: f"{stack}/{part}" for part in ("control", "agent", "test")}


def variables(facts):
    """Return the variables of compose.yaml and compose.demo.yaml."""
    own, ports = images(facts.stack), facts.ports
    return {
        "ODOOOPS_STACK": facts.stack,
        "ODOOOPS_BIND_ADDRESS": facts.bind_address,
        "ODOOOPS_HTTP_PORT": str(ports["http"]),
        "ODOOOPS_HTTPS_PORT": str(ports["https"]),
        "ODOOOPS_REGISTRY_PORT": str(ports["registry"]),
        "ODOOOPS_CUSTOMERS_DB_PORT": str(ports["customers_db"]),
        "ODOOOPS_BRIDGE_ADDRESS": facts.bridge_address,
        "ODOOOPS_CADDY_JSON": f"{facts.state}/caddy.json",
        "ODOOOPS_CONSOLE_HOST": CONSOLE_HOSTS[0],
        "ODOOOPS_PUBLIC_URL": f"http://{CONSOLE_HOSTS[0]}:{ports['http']}",
        "ODOOOPS_URL": "http://caddy",
        "ODOOOPS_PG_DSN_FILE": f"{facts.state}/secrets/pg_dsn",
        "ODOOOPS_PG_QUOTA_BYTES": str(facts.disk_bytes),
        "ODOOOPS_DATA_ROOT": facts.data_root,
        "ODOOOPS_BACKUP_DIR": f"{facts.state}/backups",
        "ODOOOPS_AGENT_KEY_FILE": f"{facts.state}/secrets/agent.key",
        "ODOOOPS_SECRETS": f"{facts.state}/secrets",
        "ODOOOPS_GITHUB_SECRETS": f"{facts.state}/secrets/github",
        "ODOOOPS_TLS": "off",  # names under .localhost get no certificates
        "ODOOOPS_DOCKER_CONFIG": f"{facts.state}/docker-config",
        "ODOOOPS_POSTGRES_IMAGE": facts.postgres_image,
        "ODOOOPS_CONTROL_IMAGE": own["control"],
        "ODOOOPS_AGENT_IMAGE": own["agent"],
    }


def customers_dsn(facts):
    """Return the agent's address of the customers' PostgreSQL: the same from every container and from the host."""
    server = f"{facts.bridge_address}:{facts.ports['customers_db']}"
    return f"postgresql://odooops_agent:{facts.customers_db_password}@{server}/defaultdb"


def env_file(values):
    """Return an env file for Compose; single quotes keep `$` and `#` what they are."""
    for name, value in values.items():
        if "\n" in value or "'" in value:
            raise ValueError(f"{name} can't hold a line break or a single quote.")
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def caddy_json(text, hosts):
    """Return caddy.json for the demo: plain HTTP, and the console under these names instead of production's one."""
    config = json.loads(text)
    server = config["apps"]["http"]["servers"]["odooops"]
    server["listen"] = [":80"]  # only HTTP's own port: Caddy then asks for no certificates
    for route in server["routes"]:
        if route.get("@id") == CONSOLE_ID:
            route["match"] = [{"host": list(hosts)}]
    return json.dumps(config, indent=2) + "\n"
