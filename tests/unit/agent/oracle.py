"""What must hold for an environment after whatever happened: fully old or fully new, reachable, nothing left over."""

from odooops_agent.testing.droplet import DATABASE, KEY


def check_safe(droplet, *, token, sets=None):
    """Assert that the environment is sound; return the digest that it is on.

    :param token: of the deployment that may or may not have happened.
    :param sets: the generations of the restore sets there have to be, by token; the deployment's own when left out.
    """
    world = droplet.world
    assert world.violations == []
    assert droplet.journal.unfinished() == []
    assert world.held == set()
    web = world.answering(KEY)
    assert web is not None, "nobody answers"
    _check_containers(world, web)
    _check_generations(world, web)
    _check_configs(world, web)
    if sets is None:
        _check_own_set(world, web, token)
    else:
        _check_sets(world, sets)
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


def _check_configs(world, web):
    current = int(web.spec.labels["odooops.token"])
    assert {name for key, name in world.configs} == {f"odoo-{current}.conf", "log-baseline.txt"}


def _check_own_set(world, web, token):
    updated = int(web.spec.labels["odooops.token"]) == token and set(world.databases) != {DATABASE}
    _check_sets(world, {token: "one"} if updated else {})


def _check_sets(world, sets):
    """Each set is whole, and its mark tells it apart."""
    copies = {f"{DATABASE}__s{token}": token for token in sets}
    assert set(world.databases) - {DATABASE} == set(copies)
    assert {number for _, number in world.file_snapshots} == set(sets)
    for name, token in copies.items():
        copy = world.databases[name]
        assert copy.generation == world.file_snapshots[KEY, token] == sets[token]
        assert copy.mark.token == token
        assert world.images[copy.mark.digest].generation == sets[token]


def check_kept(droplet):
    """Assert that the image of every restore set outlives a prune, and no other does."""
    world = droplet.world
    marks = [one.mark for name, one in world.databases.items() if name.startswith(f"{DATABASE}__s")]
    assert world.kept_images == {mark.digest for mark in marks}


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
