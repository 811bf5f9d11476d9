"""Run the addon's tests in the control plane's image, on a PostgreSQL role without superuser.

A database with what the addon depends on is made once and copied for each run. Everything pytest takes may follow:
`.run/venv/bin/python -m scripts.ci.addon_tests -k lease`.
"""

import ast
import secrets
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree
from contextlib import closing, contextmanager

import psycopg2

from scripts.setup import base_images, build, engine, paths, shell
from scripts.setup.errors import SetupError
from scripts.setup.progress import Progress
from scripts.setup.stack import Stack

ADDON = "odooops_control"
ADDONS = paths.ROOT / "addons"
FOLDER = paths.STATE / "addon-tests"
ROLE = "odoo_test"
IN_CONTAINER = "/odooops-test"
DATABASE_WAIT_SECONDS = 60


def main(argv=None):
    """Run the tests; return 0 when all that ran passed, some ran and none was skipped."""
    progress, stack = Progress(), Stack.load()
    server = TestServer(stack)
    prepare(stack, server, progress)
    with server.copy_of_template() as database:
        with progress.step("Addon installed") as note:
            note(server.install(ADDON, database))
        code = server.run(pytest_argv(argv or []), database)
    return verdict(code, FOLDER / "results/junit.xml", filtered=bool(argv))


def prepare(stack, server, progress):
    paths.make_folders()
    with progress.step("Docker Engine") as note:
        note(engine.ensure_engine())
    with progress.step("Images") as note:
        base_images.ensure(base_images.DEBIAN, progress.say)
        base_images.ensure(base_images.ODOO, progress.say)
        note(stack.ensure_image("test"))
    with progress.step("PostgreSQL of the tests") as note:
        note(server.ensure(base_images.ensure_postgres(progress.say).name))
    with progress.step("Template database") as note:
        note(server.ensure_template(depends(ADDONS / ADDON / "__manifest__.py")))


def pytest_argv(extra):
    return [
        "python3",
        "-m",
        "pytest",
        f"{IN_CONTAINER}/addons/{ADDON}",
        "--odoo-http",
        "-p",
        "no:cacheprovider",
        "-ra",
        "-q",
        f"--junitxml={IN_CONTAINER}/results/junit.xml",
        *extra,
    ]


def depends(manifest):
    """Return the modules that an addon's manifest names as dependencies."""
    return sorted(ast.literal_eval(manifest.read_text())["depends"])


def verdict(code, junit, filtered):
    """Turn pytest's result into ours: a skipped test is a failure, for it proves nothing, and so is none at all.

    :param filtered: a person chose some tests, so that none or a skipped one is their affair
    """
    if not junit.exists():
        return code or 1
    suite = xml.etree.ElementTree.parse(junit).getroot().find("testsuite")  # noqa: S314 (our own file)
    ran, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    if code or filtered:
        return code
    if skipped or not ran:
        print(f"Failed: {skipped} skipped of {ran} tests; every test of the addon has to run.", file=sys.stderr)
        return 1
    return 0


class TestServer:
    """A PostgreSQL container that only these tests use; `make down` removes it with the rest of the stack."""

    def __init__(self, stack):
        self._stack = stack
        self._name = stack.container("addon-tests-db")
        self._network = stack.container("addon-tests")
        self._image = stack.images["test"]

    @property
    def network(self):
        return self._network

    def environment(self):
        """Return libpq's variables for this server, by an address that host and containers reach alike."""
        address = engine.docker(
            "inspect", "--format={{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self._name
        ).strip()
        return {"PGHOST": address, "PGPORT": "5432", "PGUSER": ROLE, "PGPASSWORD": self._password}

    def ensure(self, image):
        """Start the server unless it runs; return a word about it."""
        if self._running():
            return "runs"
        labels = [f"--label=odooops.stack={self._stack.name}"]
        shell.answers([engine.client(), "rm", "--force", "--volumes", self._name])
        shell.answers([engine.client(), "network", "rm", self._network])
        engine.docker("network", "create", *labels, self._network)
        password = secrets.token_urlsafe(16)
        # Nothing here outlives the container, so nothing has to be safe on disk.
        engine.docker(
            "run",
            "--detach",
            f"--name={self._name}",
            f"--network={self._network}",
            *labels,
            "--publish=127.0.0.1::5432",
            f"--env=POSTGRES_PASSWORD={password}",
            "--shm-size=256m",
            image,
            "postgres",
            "-c",
            "fsync=off",
            "-c",
            "synchronous_commit=off",
            "-c",
            "full_page_writes=off",
        )
        self._password_file.parent.mkdir(parents=True, exist_ok=True)
        self._password_file.write_text(password)
        self._password_file.chmod(0o600)
        self._await()
        self._execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER CREATEDB PASSWORD %s", [password])
        return "started"

    def ensure_template(self, modules):
        """Have a database with these modules; return a word about it."""
        image = engine.image(self._image)["Id"]
        self._template = f"template_{build.fingerprint(image, *modules)[:12]}"
        if self._exists(self._template):
            return f"here, with {', '.join(modules)}"
        self._execute(f"CREATE DATABASE {self._template}_new OWNER {ROLE} TEMPLATE template0 ENCODING 'UTF8'")
        self.install(",".join(modules), f"{self._template}_new")
        self._execute(f"ALTER DATABASE {self._template}_new RENAME TO {self._template}")
        return f"made, with {', '.join(modules)}"

    @contextmanager
    def copy_of_template(self):
        """Lend a database that is gone afterwards."""
        name = f"test_{secrets.token_hex(4)}"
        self._execute(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {self._template}")
        try:
            yield name
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def install(self, modules, database):
        """Install modules; return a word about it.

        :raises CommandFailed: Odoo says why
        """
        argv = ["odoo", f"--database={database}", f"--init={modules}", "--stop-after-init", "--no-http"]
        shell.run(self._docker_run([*argv, "--log-level=warn"], database))
        return modules

    def run(self, argv, database):
        """Run a command in the test image with its output on the terminal; return its code."""
        results = FOLDER / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        results.chmod(0o777)  # the image's own user writes here
        return subprocess.run(self._docker_run(argv, database), stdin=subprocess.DEVNULL).returncode

    def _docker_run(self, argv, database):
        conf = FOLDER / "odoo.conf"
        conf.write_text(self._conf(database))
        conf.chmod(0o644)
        return [
            engine.client(),
            "run",
            "--rm",
            f"--network={self._network}",
            f"--label=odooops.stack={self._stack.name}",
            f"--volume={conf}:{IN_CONTAINER}/odoo.conf:ro",
            f"--volume={ADDONS}:{IN_CONTAINER}/addons:ro",
            # As in the repository: the contract's fixtures stand beside the addons.
            f"--volume={paths.ROOT}/tests/contract:{IN_CONTAINER}/tests/contract:ro",
            f"--volume={FOLDER}/results:{IN_CONTAINER}/results",
            "--tmpfs=/mnt/extra-addons",
            f"--env=ODOO_RC={IN_CONTAINER}/odoo.conf",
            "--env=PYTHONDONTWRITEBYTECODE=1",
            self._image,
            *argv,
        ]

    def _conf(self, database):
        return (
            f"[options]\ndb_host = {self._name}\ndb_user = {ROLE}\ndb_password = {self._password}\n"
            f"db_name = {database}\naddons_path = {IN_CONTAINER}/addons\ndata_dir = /tmp/odoo\n"
        )

    @property
    def _password_file(self):
        return FOLDER / "password"

    @property
    def _password(self):
        return self._password_file.read_text()

    def _running(self):
        found = engine.docker("ps", "--quiet", f"--filter=name=^{self._name}$")
        return bool(found.strip()) and self._password_file.exists()

    def _connect(self):
        port = engine.docker("port", self._name, "5432/tcp").split()[0].rpartition(":")[2]
        return psycopg2.connect(
            host="127.0.0.1", port=port, user="postgres", password=self._password, dbname="postgres"
        )

    def _await(self):
        deadline = time.monotonic() + DATABASE_WAIT_SECONDS
        while True:
            try:
                return self._connect().close()
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    why = f"The tests' PostgreSQL does not answer after {DATABASE_WAIT_SECONDS} s: {error}"
                    raise SetupError(why) from error
                time.sleep(0.3)

    def _execute(self, statement, values=None):
        with closing(self._connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []

    def _exists(self, database):
        return bool(self._execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as failure:
        sys.exit(str(failure))
