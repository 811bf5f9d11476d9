"""Remove what the set-up, the demo and the agent made: by this stack's label, and nothing else."""

import json
import shutil
import urllib.request

from . import base_images, build, engine, paths

# What only costs time to make again, the digests that tags stood for, and nothing that a stack left in it.
_KEPT = ("downloads", "venv", "tools", "apt", "lint", "ports.json", "images.json", "dockerd.pid", "log", "lock")


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
        pushed = pushed_names(stack.registry) if stack.has_ports else ()
        removed = remove_objects(stack.name, (f"{stack.name}/", *pushed))
        if everything:
            removed["base images"] = _remove_stand_ins()
            engine.stop_own_daemon()
    _remove_files(everything)
    return removed


def pushed_names(registry):
    """Return the names of the repositories in the stack's own registry.

    Only what it tells itself is ours: another registry may have had the same port before. One that does not
    answer any more tells nothing, and then a few names stay.

    :param registry: host:port on this machine
    """
    try:
        with urllib.request.urlopen(f"http://{registry}/v2/_catalog?n=1000", timeout=5) as answer:
            repositories = json.load(answer).get("repositories") or []
    except (OSError, ValueError):
        return ()
    return tuple(f"{registry}/{repository}" for repository in repositories)


def remove_objects(stack, image_prefixes):
    """Remove all of a stack's Docker objects; return how many went, by kind.

    :param stack: its name, which is the value of the label
    :param image_prefixes: beginnings of image names that are the stack's
    """
    label = f"--filter=label=odooops.stack={stack}"
    # The agent first, or it would make new containers while the others go.
    agent = engine.docker("ps", "--all", "--quiet", f"--filter=name=^{stack}-agent$")
    removed = {"containers": _remove("container", agent, "--force", "--volumes")}
    removed["containers"] += _remove_firewall(stack)
    containers = engine.docker("ps", "--all", "--quiet", label)
    removed["containers"] += _remove("container", containers, "--force", "--volumes")
    removed["networks"] = _remove_networks(engine.docker("network", "ls", "--quiet", label))
    removed["volumes"] = _remove("volume", engine.docker("volume", "ls", "--quiet", label), "--force")
    removed["images"] = _remove_images(label, image_prefixes)
    return removed


def _remove_firewall(stack):
    """Remove the firewall's container, then by its image the rules that it left to the kernel."""
    name = engine.docker("ps", "--all", "--format={{.Names}}", f"--filter=name=^{stack}-firewall$").strip()
    if not name:
        return 0
    image = engine.docker("inspect", "--format={{.Image}}", name).strip()
    _remove("container", name, "--force", "--volumes")
    rights = ("--network=host", "--cap-drop=ALL", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW")
    engine.docker("run", "--rm", *rights, f"--env=ODOOOPS_STACK={stack}", image, "firewall", "--remove")
    return 1


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


def _remove_images(label, prefixes):
    """Remove the project's images and all names in the stack's registry; layers of base images stay."""
    listing = engine.docker("image", "ls", "--digests", "--format", "{{.Repository}} :{{.Tag}} @{{.Digest}}")
    names = engine.docker("image", "ls", "--quiet", label).split()
    for repository, *handles in (line.split() for line in listing.splitlines()):
        if repository.startswith(prefixes):
            # By name: the same image may have another name that is not the stack's.
            names += [repository + handle for handle in handles if "<none>" not in handle]
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
