"""What must hold for an environment after whatever happened: fully old or fully new, reachable, nothing left over."""

from odooops_agent.testing.droplet import DATABASE, KEY


def check_safe(droplet, *, token):
    """Assert that the environment is sound; return the digest that it is on.

    :param token: of the deployment that may or may not have happened.
    """
    world = droplet.world
    assert world.violations == []
    assert droplet.journal.unfinished() == []
    assert world.held == set()
    web = world.answering(KEY)
    assert web is not None, "nobody answers"
    _check_containers(world, web)
    _check_generations(world, web)
    _check_leftovers(world, web, token)
    return web.digest


def _check_containers(world, web):
    crons = [one for one in world.containers.values() if one.role == "cron"]
    assert [one.running for one in crons] == [True]
    assert crons[0].digest == web.digest
    assert len(world.containers) == 2, sorted(world.containers)


def _check_generations(world, web):
    wanted = world.images[web.digest].generation
    database = world.databases[DATABASE]
    assert database.generation == wanted
    assert world.filestores[KEY, DATABASE] == wanted
    assert database.recorded_digest == web.digest
    assert not database.fenced
    assert database.allows_connections


def _check_leftovers(world, web, token):
    current = int(web.spec.labels["odooops.token"])
    assert {name for key, name in world.configs} == {f"odoo-{current}.conf", "log-baseline.txt"}
    extra = set(world.databases) - {DATABASE}
    snapshots = {number for _, number in world.file_snapshots}
    updated = current == token and extra
    assert extra <= ({f"{DATABASE}__s{token}"} if updated else set())
    assert snapshots == ({token} if updated else set())
    if updated:
        assert world.databases[f"{DATABASE}__s{token}"].generation == world.file_snapshots[KEY, token] == "one"


def check_empty(droplet):
    """Assert that a first installation that did not happen left nothing behind."""
    world = droplet.world
    assert world.violations == []
    assert droplet.journal.unfinished() == []
    assert world.databases == {}
    assert world.containers == {}
    assert world.filestores == {}
    assert {name for _, name in world.configs} <= {"log-baseline.txt"}
    assert world.held == set()
