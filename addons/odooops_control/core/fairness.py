"""Which of the queued operations an agent gets next."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A queued operation. Times are seconds since the epoch."""

    id: int
    project: int
    environment: int
    exclusive: bool
    heavy: bool
    queued_at: float


@dataclass(frozen=True)
class Load:
    """What the agent works on, and when each project was served last."""

    heavy_running: int = 0
    heavy_beside: int = 0  # of those, the backups and tests that change no environment
    heavy_limit: int = 1
    busy_environments: frozenset = frozenset()
    running_by_project: tuple = ()
    served_at: tuple = ()


def in_order(candidates, load):
    """Return the candidates that may run now, the one to lease first at the front.

    Light work (a plan) runs beside heavy work, and what changes an environment waits for no backup or test: a rollback
    must not stand behind a night's work. Between projects the one with less running and
    the longest wait since it was last served goes first; inside a project the oldest.
    """
    running = dict(load.running_by_project)
    served = dict(load.served_at)

    def may_run(one):
        in_the_way = load.heavy_running - (load.heavy_beside if one.exclusive else 0)
        if one.heavy and in_the_way >= load.heavy_limit:
            return False
        return not (one.exclusive and one.environment in load.busy_environments)

    def rank(one):
        light_first = one.heavy
        project = one.project
        return (
            light_first,
            one.heavy and not one.exclusive,
            running.get(project, 0),
            served.get(project, 0.0),
            one.queued_at,
            one.id,
        )

    return sorted(filter(may_run, candidates), key=rank)
