"""Remove what the set-up, the demo and the agent made: by this stack's label, and nothing else."""

import json
import shutil

from . import base_images, build, engine, paths

# What only costs time to make again, and nothing that a stack left in it.
_KEPT = ("downloads", "venv", "tools", "apt", "lint", "ports.json", "dockerd.pid", "log", "lock")


def published_ports(stack):
    """Return the host ports that this stack's running containers hold."""
    text = engine.docker("ps", "--filter", f"label=odooops.stack={stack}", "--format", "{{.Ports}}")
    parts = (part for part in text.replace("\n", ",").split(",") if "->" in part)
    published = (part.partition("->")[0].rpartition(":")[2] for part in parts)
    return {int(port) for port in published if port.isdigit()}


def remove(stack, everything=False):
    """Remove the stack's containers, networks, volumes, images and files; return what went, by kind.

    :param everything: also base images built here, downloads and all other state
    """
    removed = {}
    if engine.answers():
        label = f"label=odooops.stack={stack.name}"
        containers = engine.docker("ps", "--all", "--quiet", "--filter", label)
        removed["containers"] = _remove("container", containers, "--force", "--volumes")
        removed["networks"] = _remove_networks(engine.docker("network", "ls", "--quiet", "--filter", label))
        removed["volumes"] = _remove("volume", engine.docker("volume", "ls", "--quiet", "--filter", label), "--force")
        removed["images"] = _remove_images(stack, label)
        if everything:
            removed["base images"] = _remove_stand_ins()
            engine.stop_own_daemon()
    _remove_files(everything)
    return removed


def _remove(kind, ids, *options):
    """Remove objects by id, one engine call for all; return how many there were."""
    names = sorted(set(ids.split()))
    if names:
        engine.docker(kind, "rm", *options, *names)
    return len(names)


def _remove_networks(ids):
    """Remove networks; a container of somebody else that was connected to one of them is disconnected first."""
    for network in ids.split():
        (found,) = json.loads(engine.docker("network", "inspect", network))
        for container in found["Containers"]:
            engine.docker("network", "disconnect", "--force", network, container)
    return _remove("network", ids)


def _remove_images(stack, label):
    """Remove the project's images and all names in the stack's registry; layers of base images stay."""
    listing = engine.docker("image", "ls", "--format", "{{.Repository}} {{.ID}}")
    prefixes = [f"{stack.name}/"]
    if stack.has_ports:
        prefixes.append(f"{stack.registry}/")
    names = set(engine.docker("image", "ls", "--quiet", "--filter", label).split())
    for repository, image in (line.split() for line in listing.splitlines()):
        if repository.startswith(tuple(prefixes)):
            names.add(image)
    return _remove("image", "\n".join(names), "--force")


def _remove_stand_ins():
    names = [name for name in base_images.ALL if engine.image_label(name, build.INPUTS_LABEL)]
    return _remove("image", "\n".join(names), "--force")


def _remove_files(everything):
    if not paths.STATE.exists():
        return
    for path in paths.STATE.iterdir():
        if not everything and path.name in _KEPT:
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
