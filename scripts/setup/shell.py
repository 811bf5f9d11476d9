"""Run commands: argument lists only, output kept for the error message, a copy in a log file."""

import os
import subprocess

from . import paths
from .errors import CommandFailed, SetupError


def run(argv, *, log=None, cwd=None, env=None, timeout_seconds=None, stdin=None):
    """Run a command and return its standard output.

    :param log: name of a file in `.run/log` that gets all output instead (the return value is then "")
    :param env: variables added to this process's own
    :raises CommandFailed: it ended with an error
    """
    argv = [str(part) for part in argv]
    options = {
        "cwd": cwd,
        "env": {**os.environ, **(env or {})},
        "timeout": timeout_seconds,
        "stdin": stdin or subprocess.DEVNULL,
    }
    try:
        return _run_logged(argv, log, options) if log else _run_captured(argv, options)
    except FileNotFoundError as error:
        program = error.filename or argv[0]
        raise SetupError(f"The program {program} is missing; install it and run make again.") from error
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"`{' '.join(argv[:4])}` did not end within {timeout_seconds} s.") from error


def answers(argv, *, timeout_seconds=20, env=None):
    """Tell whether a command exists and ends well."""
    try:
        run(argv, timeout_seconds=timeout_seconds, env=env)
    except SetupError:
        return False
    return True


def _run_captured(argv, options):
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", **options)
    if done.returncode:
        raise CommandFailed(argv, done.returncode, done.stdout + done.stderr)
    return done.stdout


def _run_logged(argv, log, options):
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    with (paths.LOGS / log).open("w+", errors="replace") as output:
        done = subprocess.run(argv, stdout=output, stderr=subprocess.STDOUT, text=True, **options)
        output.seek(0)
        if done.returncode:
            raise CommandFailed(argv, done.returncode, output.read())
    return ""
