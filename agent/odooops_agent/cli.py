"""`odooops-agent`: run, plan FILE, doctor, status, audit, firewall, catch-mail, and two that print passwords."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import AgentError

LOG_FORMAT = "%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a failure is one sentence on stderr and exit code 1."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO, format=LOG_FORMAT)
    # It logs every connection it opens.
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except AgentError as error:
        print(f"odooops-agent: {error.message}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="odooops-agent", description="The droplet's side of OdooOps.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="lease operations and carry them out")
    run.set_defaults(command=_run)
    plan = commands.add_parser("plan", help="print the steps of an operation and do nothing")
    plan.add_argument("file", type=Path, help='JSON: {"operation": …, "facts": …}')
    plan.set_defaults(command=_plan)
    doctor = commands.add_parser("doctor", help="check what the agent needs, one line each with the mend")
    doctor.set_defaults(command=_doctor)
    status = commands.add_parser("status", help="tell what the journal knows")
    status.set_defaults(command=_status)
    audit = commands.add_parser("audit", help="print the heads of the console's audit log that are held")
    audit.add_argument("--accept", action="store_true", help="forget them: the console was restored from a backup")
    audit.set_defaults(command=_audit)
    pin = commands.add_parser("pin", help="obey the console of this key; without one, tell which is obeyed")
    pin.add_argument("key", nargs="?", help="as the droplet's page in the console shows it")
    pin.set_defaults(command=_pin)
    tier = commands.add_parser("tier", help="let an environment that was production here be less")
    tier.add_argument("environment", help="<project>/<code>")
    tier.add_argument("tier", choices=("preview", "staging", "production"))
    tier.set_defaults(command=_tier)
    firewall = commands.add_parser("firewall", help="keep environments from the droplet and its private neighbours")
    once = firewall.add_mutually_exclusive_group()
    once.add_argument("--check", action="store_true", help="only tell whether the rules are there")
    once.add_argument("--remove", action="store_true", help="take the rules away")
    firewall.set_defaults(command=_firewall)
    catch = commands.add_parser("catch-mail", help="take every mail that copies of production send, and send none")
    catch.set_defaults(command=_catch_mail)
    password = commands.add_parser("admin-password", help="print the administrator's first password")
    password.add_argument("environment", help="<project>/<code>")
    password.set_defaults(command=_admin_password)
    recovery = commands.add_parser(
        "recovery-password", help="print a backup repository's second password, which the offline recovery key opens"
    )
    recovery.add_argument("keys", type=Path, help="the repository's folder `keys`; on S3, a copy of it")
    recovery.set_defaults(command=_recovery_password)
    return parser


def _run(options: argparse.Namespace) -> int:
    from .agent import Agent
    from .settings import read_settings

    return Agent(read_settings()).run()


def _plan(options: argparse.Namespace) -> int:
    from .errors import Refused
    from .planfile import read_plan_file, shown

    try:
        text = options.file.read_text("utf-8")
    except OSError as error:
        raise Refused(f"{options.file} can't be read ({error.strerror}): give a JSON file.") from None
    print(shown(read_plan_file(text)))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import run_checks
    from .settings import read_settings

    checks: list[Any] = list(run_checks(read_settings()))
    for check in checks:
        mend = "" if check.ok or not check.mend else f" — {check.mend}"
        print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.detail}{mend}")
    return 0 if all(check.ok for check in checks) else 1


def _firewall(options: argparse.Namespace) -> int:
    from .firewall import keep, read_firewall, remove_rules
    from .settings import stack_name

    if options.remove:
        remove_rules(stack_name())
    elif options.check:
        read_firewall().check()
        print("The environments are kept from the droplet and its private neighbours.")
    else:
        return keep(read_firewall())
    return 0


def _catch_mail(options: argparse.Namespace) -> int:
    from .catcher import catch

    return catch()


def _status(options: argparse.Namespace) -> int:
    from .journal import Journal
    from .settings import read_settings

    path = read_settings().state_dir / "journal.sqlite"
    if not path.exists():
        print("This agent has not run yet.")
        return 0
    journal = Journal(path)
    for key, known in journal.environments().items():
        print(f"{key}: {known['digest']} on database {known['database']} ({known['uuid']})")
    for number, kind, environment, state in journal.latest(10):
        print(f"operation {number}: {kind} {environment} {state}")
    for number, kind, reason in journal.refused_reports():
        print(f"operation {number}: the control plane refused its {kind} report for good: {reason}")
    report = journal.next_report()
    print("All is reported." if report is None else f"Reports wait since operation {report.operation_id}.")
    return 0


def _audit(options: argparse.Namespace) -> int:
    from .journal import Journal
    from .settings import read_settings

    path = read_settings().state_dir / "journal.sqlite"
    if not path.exists():
        print("This agent has not run yet.")
        return 0
    journal = Journal(path)
    for number, digest, at in journal.audit_heads():
        print(f"{number}:{digest} {at[:16]}")
    if broken := journal.audit_break():
        print(f"Since {broken[2][:16]} the console's event {broken[0]} is {'another' if broken[1] else 'gone'}.")
    if options.accept:
        journal.accept_audit()
        print("Forgotten: the next heartbeat brings the head from which the console's log is watched again.")
    return 1 if broken and not options.accept else 0


def _pin(options: argparse.Namespace) -> int:
    from .console_pin import ConsolePin
    from .settings import read_settings

    settings = read_settings()
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    console = ConsolePin(settings.key_file, settings.state_dir)
    pin = console.pin(options.key) if options.key else console()
    print(pin.text if pin else "No console's key is pinned: production can't be deployed from here.")
    return 0 if pin else 1


def _tier(options: argparse.Namespace) -> int:
    from .errors import Refused
    from .journal import Journal
    from .settings import read_settings

    path = read_settings().state_dir / "journal.sqlite"
    journal = Journal(path) if path.exists() else None
    if journal is None or journal.tier(options.environment) is None:
        raise Refused(f"This agent has seen no {options.environment}: its first order says what it is.")
    journal.set_tier(options.environment, options.tier)
    print(f"{options.environment} is {options.tier} here from now on.")
    return 0


def _admin_password(options: argparse.Namespace) -> int:
    from .errors import Refused
    from .settings import read_settings
    from .steps.environment import admin_password_name
    from .wiring import password_store

    password = password_store(read_settings()).find(admin_password_name(options.environment))
    if password is None:
        raise Refused(f"This agent installed no {options.environment}: its administrator has another password.")
    print(password.reveal())
    return 0


def _recovery_password(options: argparse.Namespace) -> int:
    """Needs no agent and no settings: what is left after a loss is the repository and the key."""
    from getpass import getpass

    from .commands.restic import recovery_keys_in
    from .errors import Refused
    from .sealing import open_recovery

    try:
        texts = [path.read_text("utf-8", "replace") for path in sorted(options.keys.iterdir()) if path.is_file()]
    except OSError as error:
        raise Refused(f"{options.keys} can't be read ({error.strerror}): give the repository's folder keys.") from None
    sealed = recovery_keys_in(texts)
    if not sealed:
        raise Refused(f"No key in {options.keys} was sealed for a recovery key: was it made after the last backup?")
    typed = getpass("Recovery key: ") if sys.stdin.isatty() else sys.stdin.readline()
    print(open_recovery(typed, sealed).reveal())
    return 0


if __name__ == "__main__":
    sys.exit(main())
