#!/usr/bin/python3
"""Start the console's Odoo: wait for PostgreSQL, install or update the addon when it changed, then become Odoo.

Runs as root only to read the secrets and write `odoo.conf`; all of Odoo runs as the user `odoo`.
Settings, from the environment: ODOOOPS_DB_HOST, ODOOOPS_DB_PORT, ODOOOPS_DB_USER, ODOOOPS_DB_NAME,
ODOOOPS_DB_PASSWORD_FILE, ODOOOPS_ADMIN_PASSWORD_FILE, ODOOOPS_PUBLIC_URL, ODOOOPS_CONTROL_WORKERS,
ODOOOPS_GITHUB_MOUNT (the folder of GitHub's secrets, see the addon's secret_files.py), ODOOOPS_SIGNING_KEY_FILE
(see the addon's signing_key.py; made in Odoo's data folder at the first start where none is named).
"""

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import psycopg2

ADDON = "odooops_control"
ADDONS = Path("/opt/odooops/addons")
CONF = Path("/run/odooops/odoo.conf")
GITHUB = Path("/run/odooops/github")
DATA = Path("/var/lib/odoo")
SIGNING_KEY = DATA / "odooops-signing.key"
BUILD_KEY = "odooops.control_build"
DATABASE_WAIT_SECONDS = 120
SETTINGS = os.environ


def main():
    """Do all of it; any failure ends with one sentence and code 1, and Docker tries again."""
    database, password = SETTINGS.get("ODOOOPS_DB_NAME", ADDON), read_secret("ODOOOPS_DB_PASSWORD_FILE")
    admin_password = read_secret("ODOOOPS_ADMIN_PASSWORD_FILE")
    write_conf(conf_text(database, password))
    hand_over_github_secrets()
    become_odoo()
    make_signing_key()
    wait_for_database(database, password)
    with closing(connect(database, password)) as connection:
        installed, current = recorded_build(connection), addon_build()
        if installed != current:
            install("--update" if installed else "--init", database)
            after_install(connection, current, None if installed else admin_password)
        freeze_url(connection)
    os.execvp("odoo", ["odoo", f"--config={CONF}", *sys.argv[1:]])  # noqa: S606 (this process becomes Odoo)


def conf_text(database, password):
    """Return the server's configuration: one database by its exact name, no database manager, behind a proxy."""
    values = {
        "db_host": SETTINGS.get("ODOOOPS_DB_HOST", "control-db"),
        "db_port": SETTINGS.get("ODOOOPS_DB_PORT", "5432"),
        "db_user": SETTINGS.get("ODOOOPS_DB_USER", ADDON),
        "db_password": password,
        "db_name": database,
        "dbfilter": f"^{re.escape(database)}$",
        "list_db": "False",
        "proxy_mode": "True",
        "workers": SETTINGS.get("ODOOOPS_CONTROL_WORKERS", "2"),
        "max_cron_threads": "1",
        "http_interface": "0.0.0.0",  # noqa: S104 (of the container)
        "gevent_port": "8072",
        "addons_path": str(ADDONS),
        "data_dir": str(DATA),
    }
    for name, value in values.items():
        if "\n" in value:
            fail(f"The setting {name} may not hold a line break.")
    return "[options]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def read_secret(variable):
    """Return the text of the file that a variable names."""
    path = Path(SETTINGS.get(variable) or f"/{variable} is not set")
    try:
        return path.read_text().strip()
    except OSError as error:
        fail(f"{variable}: can't read {path}: {error.strerror}.")


def write_conf(text):
    CONF.parent.mkdir(parents=True, exist_ok=True)
    CONF.unlink(missing_ok=True)
    with open(os.open(CONF, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(text)
    user = pwd.getpwnam("odoo")
    for path in (CONF, DATA):
        os.chown(path, user.pw_uid, user.pw_gid)


def hand_over_github_secrets():
    """Copy GitHub's secrets, where there are any, to where Odoo's user and nobody else may read them."""
    user, source = pwd.getpwnam("odoo"), Path(SETTINGS.get("ODOOOPS_GITHUB_MOUNT") or "/nowhere")
    shutil.rmtree(GITHUB, ignore_errors=True)
    GITHUB.mkdir(mode=0o700, parents=True)
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if path.is_file():
            with open(os.open(GITHUB / path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
                file.write(path.read_bytes())
            os.chown(GITHUB / path.name, user.pw_uid, user.pw_gid)
    os.chown(GITHUB, user.pw_uid, user.pw_gid)
    os.environ["ODOOOPS_GITHUB_DIR"] = str(GITHUB)


def become_odoo():
    """Drop root for good."""
    user = pwd.getpwnam("odoo")
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=str(DATA), ODOO_RC=str(CONF))


def make_signing_key():
    """Make the key that signs what may change production, once: it stays in the volume, out of the database."""
    if SETTINGS.get("ODOOOPS_SIGNING_KEY_FILE"):
        return
    if not SIGNING_KEY.exists():
        new = SIGNING_KEY.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(b64encode(os.urandom(32)))
            file.flush()
            os.fsync(file.fileno())
        new.rename(SIGNING_KEY)
    os.environ["ODOOOPS_SIGNING_KEY_FILE"] = str(SIGNING_KEY)


def connect(database, password):
    return psycopg2.connect(
        host=SETTINGS.get("ODOOOPS_DB_HOST", "control-db"),
        port=SETTINGS.get("ODOOOPS_DB_PORT", "5432"),
        user=SETTINGS.get("ODOOOPS_DB_USER", ADDON),
        password=password,
        dbname=database,
        connect_timeout=5,
    )


def wait_for_database(database, password):
    deadline = time.monotonic() + DATABASE_WAIT_SECONDS
    while True:
        try:
            return connect(database, password).close()
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                fail(f"PostgreSQL does not let the console in after {DATABASE_WAIT_SECONDS} s: {error}")
            time.sleep(1)


def addon_build():
    """Return a hash of the addon's content and Odoo's version."""
    digest = hashlib.sha256(subprocess.check_output(["odoo", "--version"]))
    for path in sorted((ADDONS / ADDON).rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def recorded_build(connection):
    """Return the hash of the addon that the database was last brought up to, "" for one that is not complete."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('ir_config_parameter')")
        if cursor.fetchone() == (None,):
            return ""
        cursor.execute("SELECT value FROM ir_config_parameter WHERE key = %s", [BUILD_KEY])
        return (cursor.fetchone() or ("",))[0]


def install(flag, database):
    """Install or update the addon; `-u` may end well with modules left half-way, so look."""
    print(f"odooops-control: {flag.strip('-')} of {ADDON}", flush=True)
    argv = ["odoo", f"--config={CONF}", f"--database={database}", flag, ADDON]
    if subprocess.run([*argv, "--stop-after-init", "--no-http", "--workers=0"]).returncode:
        fail(f"Odoo could not {flag.strip('-')} {ADDON}: see the lines above.")


def after_install(connection, build, admin_password):
    """Check that nothing is left half-way, set the administrator's first password, record what was installed."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM ir_module_module WHERE state IN ('to install', 'to upgrade', 'to remove')")
        stuck = [name for (name,) in cursor.fetchall()]
        if stuck:
            fail(f"Odoo left modules half-way: {', '.join(stuck)}.")
        if admin_password:
            from passlib.context import CryptContext

            hashed = CryptContext(["pbkdf2_sha512"], pbkdf2_sha512__rounds=600_000).hash(admin_password)
            cursor.execute("UPDATE res_users SET password = %s WHERE login = 'admin'", [hashed])
        set_parameter(cursor, BUILD_KEY, build)


def freeze_url(connection):
    """Keep the address in mails and links what it is, whatever host name a visitor came by."""
    url = SETTINGS.get("ODOOOPS_PUBLIC_URL")
    if url:
        with connection, connection.cursor() as cursor:
            set_parameter(cursor, "web.base.url", url)
            set_parameter(cursor, "web.base.url.freeze", "True")


def set_parameter(cursor, key, value):
    cursor.execute(
        "INSERT INTO ir_config_parameter (key, value) VALUES (%s, %s)"
        " ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value",
        [key, value],
    )


def fail(sentence):
    sys.exit(f"odooops-control: {sentence}")


if __name__ == "__main__":
    main()
