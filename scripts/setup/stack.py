"""The running parts of this checkout, as one object.

from scripts.setup.stack import Stack
stack = Stack.load()
stack.ensure_up()              # set-up and start, quick when all is there
stack.start_agent(key)         # after an agent was enrolled in the console
stack.compose("ps")
stack.down()
"""

import json
import os
import shutil
from functools import cached_property

from . import base_images, build, cleaning, engine, paths, ports, project_images, secret_files, settings, shell, waiting
from .errors import SetupError
from .progress import Progress

_PROFILES = ("control", "demo")
_FILES = ("docker/compose.yaml", "docker/compose.demo.yaml")


class Stack:
    """One checkout's containers, networks, volumes, ports and secrets."""

    def __init__(self, name=None):
        self.name = name or paths.stack_name()
        self.root, self.state, self.data_root = paths.ROOT, paths.STATE, paths.DROPLET
        self.images = settings.images(self.name)

    @classmethod
    def load(cls):
        """Return this checkout's stack, started or not."""
        return cls()

    # -- addresses and secrets ---------------------------------------------------------------------------------

    @cached_property
    def ports(self):
        """Host ports by name: http, https, registry, customers_db."""
        known = ports.remembered()
        if not known:
            raise SetupError("No ports are chosen yet; run `make up`.")
        return known

    @property
    def has_ports(self):
        """Tell whether ports were ever chosen."""
        return bool(ports.remembered())

    @property
    def bind_address(self):
        """Where Caddy listens on the host."""
        return os.environ.get("ODOOOPS_BIND_ADDRESS", "127.0.0.1")

    @property
    def console_url(self):
        """The console's address for a browser on this machine."""
        return f"http://localhost:{self.ports['http']}"

    @property
    def proxy_url(self):
        """Caddy's address for requests that carry a Host header of their own."""
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def registry(self):
        """The image registry as it stands in image names."""
        return f"localhost:{self.ports['registry']}"

    @property
    def admin_password(self):
        """The console's administrator's first password (login `admin`)."""
        return secret_files.read("control_admin_password")

    @property
    def control_database(self):
        """The console's database, for logins over RPC."""
        return "odooops_control"

    @property
    def customers_dsn(self):
        """The agent's role on the customers' PostgreSQL, for the host and for containers alike."""
        return settings.customers_dsn(self._facts)

    @property
    def customers_superuser_dsn(self):
        """The superuser there, for tests that break things; the product never uses it."""
        password = secret_files.read("customers_db_superuser_password")
        return f"postgresql://postgres:{password}@{self.bridge_address}:{self.ports['customers_db']}/postgres"

    @cached_property
    def bridge_address(self):
        """The host's address on Docker's default bridge, which containers of every network reach."""
        return engine.bridge_address()

    @cached_property
    def postgres_image(self):
        """The PostgreSQL image that is here: 16 where it could be pulled, else Debian's 15."""
        names = (base_images.POSTGRES, base_images.POSTGRES_FROM_DEBIAN)
        return next((name for name in names if engine.image(name)), base_images.POSTGRES)

    def container(self, service):
        """Return the name of a service's container."""
        return f"{self.name}-{service}"

    # -- starting and stopping ---------------------------------------------------------------------------------

    def ensure_up(self, progress=None):
        """Set up what is missing and start all but the agent; takes seconds when all is there."""
        progress = progress or Progress()
        self._prepare(progress)
        with progress.step("Containers") as note:
            self._write_settings()
            self.compose("up", "--detach", "--no-build", "--quiet-pull", "--remove-orphans", log="compose-up.log")
            waiting.for_postgres(self.customers_dsn)
            # Images that a newer build took the name of, now that no container runs on them.
            engine.docker("image", "prune", "--force", f"--filter=label=odooops.stack={self.name}")
            note("running")
        # The console installs its addon meanwhile.
        self._image_step("agent", progress)
        with progress.step("Console") as note:
            page = waiting.for_console(self.console_url, self._why_console_fails)
            note(f"answers at {self.console_url}, {waiting.check_assets(self.console_url, page)} web assets load")
        return self

    def start_agent(self, key):
        """Start the agent, or start it anew with another key.

        :param key: the text that the enrolment wizard showed
        """
        secret_files.write(secret_files.AGENT_KEY, key)
        for folder in (self.data_root, self.state / "backups", self.state / "docker-config"):
            folder.mkdir(parents=True, exist_ok=True)
        self.compose(
            "up",
            "--detach",
            "--no-build",
            "--force-recreate",
            "--no-deps",
            "catcher",
            "firewall",
            "agent",
            profiles=("droplet",),
        )

    def stop_agent(self):
        """Stop the agent's container and keep its state."""
        self.compose("stop", "agent", profiles=("droplet",))

    def compose(self, *argv, profiles=_PROFILES, **options):
        """Run `docker compose` on this stack's files and settings; return its output."""
        files = [f"--file={self.root / file}" for file in _FILES]
        chosen = [f"--profile={profile}" for profile in profiles]
        own = [*engine.compose_argv(), f"--env-file={self._env_file}", *files, *chosen]
        # As environment too: a variable of the caller's shell would win over the env file.
        return shell.run([*own, *argv], env=self._variables, **options)

    def logs(self, service, lines=200):
        """Return the last lines of a service's log."""
        return engine.docker("logs", f"--tail={lines}", self.container(service))

    def down(self, everything=False):
        """Remove what up, demo and the agent made; with `everything` also downloads and base images."""
        return cleaning.remove(self, everything)

    # -- private steps -----------------------------------------------------------------------------------------

    def _prepare(self, progress):
        paths.make_folders()
        with progress.step("Docker Engine") as note:
            note(engine.ensure_engine())
        with progress.step("Docker Compose") as note:
            note(engine.ensure_compose(progress.say))
        with progress.step("Base images") as note:
            note(base_images.ensure_all(progress.say))
        self._image_step("control", progress)
        with progress.step("Ports and passwords") as note:
            note(", ".join(f"{name} {port}" for name, port in self._choose_ports(progress).items()))
            secret_files.ensure()

    def _image_step(self, part, progress):
        with progress.step(f"Image {self.images[part]}") as note:
            note(self.ensure_image(part))

    def ensure_image(self, part):
        """Build one of the project's images when what it is made of changed; return a word about it."""
        made_of = project_images.PARTS[part]
        inputs = made_of.inputs()
        if build.is_current(self.images[part], inputs):
            return "is here"
        build.build(
            self.images[part],
            self.root / made_of.dockerfile,
            self.root,
            target=made_of.target,
            inputs=inputs,
            labels={"odooops.stack": self.name},
            args={"BASE_IMAGE": made_of.base},
            log=f"build-{part}.log",
        )
        return "built"

    def _choose_ports(self, progress):
        ours = cleaning.published_ports(self.name)
        addresses = {"http": self.bind_address, "https": self.bind_address, "customers_db": self.bridge_address}

        def is_free(name, port):
            return port in ours or ports.can_bind(addresses.get(name, "127.0.0.1"), port)

        chosen = ports.choose(ports.PREFERRED, ports.remembered(), is_free)
        for sentence in ports.sentences(ports.PREFERRED, chosen):
            progress.say(sentence)
        ports.remember(chosen)
        self.__dict__.pop("ports", None)
        return chosen

    @property
    def _env_file(self):
        return self.state / "compose.env"

    @property
    def _facts(self):
        return settings.Facts(
            stack=self.name,
            ports=self.ports,
            bind_address=self.bind_address,
            bridge_address=self.bridge_address,
            postgres_image=self.postgres_image,
            state=str(self.state),
            data_root=str(self.data_root),
            customers_db_password=secret_files.read("customers_db_password"),
            disk_bytes=shutil.disk_usage(self.state).total,
        )

    @property
    def _variables(self):
        return settings.variables(self._facts)

    def _write_settings(self):
        """Write what Compose reads, also for a person who runs Compose by hand."""
        secret_files.write(secret_files.PG_DSN, self.customers_dsn)
        secret_files.write("../compose.env", settings.env_file(self._variables))
        hosts = [*settings.CONSOLE_HOSTS, *filter(None, [os.environ.get("ODOOOPS_CONSOLE_HOST")])]
        template = (self.root / "docker/caddy/caddy.json").read_text()
        (self.state / "caddy.json").write_text(settings.caddy_json(template, hosts))

    def _why_console_fails(self):
        state = json.loads(engine.docker("inspect", "--format={{json .State}}", self.container("control")))
        if state["Restarting"] or state["Status"] == "exited":
            return f"The console's container ends again and again; its last lines:\n{self.logs('control', 30)}"
        return None
