"""`odooops-agent run`: the threads, started and stopped in order."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
from typing import IO

from .agent_key import AgentKey
from .background import Repeating
from .clock import SystemClock
from .console_pin import ConsolePin
from .control_plane_http import HttpControlPlane
from .errors import Refused
from .heartbeat import Heartbeat, HostFacts
from .journal import Journal
from .leases import Leases
from .mails import MailRun
from .operations import Workshop
from .reporter import Reporter
from .sealing import SealingKey
from .secrets import RedactingFilter, Redactor, Secret
from .settings import Settings, mails_root
from .wakeup import WakeUp
from .watch import Watch
from .wiring import password_store, real_ports
from .worker import Worker

_logger = logging.getLogger(__name__)

# An update may take an hour; who stops the agent twice does not want to wait for it.
FINISH_SECONDS = 3600.0


class Agent:
    """All parts of a running agent."""

    def __init__(self, settings: Settings) -> None:
        passwords = password_store(settings)
        self._lock = _lock_state(settings)
        clock = SystemClock()
        key = AgentKey(settings.key_file, settings.state_dir)
        _redact_log(passwords.redactor, settings, key)
        self._journal = Journal(settings.state_dir / "journal.sqlite")
        for sentence in self._journal.set_unreadable_aside():
            _logger.error(sentence)
        control = HttpControlPlane(settings.url, key)
        ports = real_ports(settings, passwords, control)
        leases = Leases(clock)
        host = HostFacts(ports)
        self._watch = watch = Watch(ports, self._journal, clock, leases.deploying, host.gather)
        pin = ConsolePin(settings.key_file, settings.state_dir)
        workshop = Workshop(ports, settings.droplet, passwords, self._journal, clock, leases, console_pin=pin)
        self._heartbeat = Heartbeat(
            control,
            self._journal,
            leases,
            clock,
            host,
            environments=watch.reports,
            renew_key=lambda text: _renew(key, text, passwords.redactor),
            on_lost=lambda: self._worker.loop.now(),
            sealing_public_key=SealingKey(settings.state_dir / "sealing.key").public,
        )
        self._watching = Repeating("watch", watch.look)
        self._worker = Worker(control, workshop, leases, self._heartbeat, on_ended=self._watching.now)
        self._wakeup = WakeUp(settings.url, key, self._worker.loop.now)
        reporter = Reporter(self._journal, control, leases.lose)
        self._reporting = Repeating("reporter", reporter.deliver)
        mails = MailRun(control, self._journal.environments, settings.stack, mails_root())
        self._mailing = Repeating("mails", mails.deliver)
        self._beating = Repeating("heartbeat", self._heartbeat.beat)
        self._journal.on_report(self._reporting.now)
        self._stop = threading.Event()

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._on_signal())
        self._beating.start()
        self._reporting.start()
        # A proxy that was made anew would keep what is recovered from its visitors.
        self._watch.mend_proxy()
        # Before any lease: until it is safe nothing else may change what an earlier process left.
        self._worker.recover()
        self._watching.start()
        self._wakeup.start()
        self._worker.loop.start()
        self._mailing.start()
        _logger.info("the agent is at work")
        self._stop.wait()
        return self._shut_down()

    def _on_signal(self) -> None:
        if self._stop.is_set():
            # Every step is a safe place to die: the journal carries on at the next start.
            os._exit(143)
        self._stop.set()

    def _shut_down(self) -> int:
        _logger.info("stopping: no more work is taken, what runs is finished first")
        self._worker.loop.stop()
        self._wakeup.stop()
        done = self._worker.finish_running(FINISH_SECONDS)
        for thread in (self._mailing, self._watching, self._beating, self._reporting):
            thread.stop()
        self._reporting.join(5.0)
        return 0 if done else 1


def _lock_state(settings: Settings) -> IO[str]:
    """Hold the state directory's lock until the process ends: two agents on one journal would undo each other."""
    lock = (settings.state_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused(f"Another agent works on {settings.state_dir}: stop it first.", code="already_running") from None
    return lock


def _redact_log(redactor: Redactor, settings: Settings, key: AgentKey) -> None:
    """Mask in the agent's own log, and in every report, what it knows besides the passwords it makes."""
    redactor.learn(settings.pg_dsn)
    redactor.learn(settings.pg_password)
    redactor.learn(key.current)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(redactor))


def _renew(key: AgentKey, text: str, redactor: Redactor) -> None:
    redactor.learn(Secret(text))
    key.renew(text)
