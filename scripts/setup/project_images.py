"""What the project's own images are made of."""

from dataclasses import dataclass

from . import base_images, build, engine, paths


@dataclass(frozen=True)
class Part:
    """One image: its Dockerfile, base and sources, by paths in the repository."""

    dockerfile: str
    base: str
    sources: tuple
    target: str | None = None

    def inputs(self):
        """Return a hash of all it is made of, the base image included."""
        base = engine.image(self.base) or {"Id": ""}
        return build.fingerprint(self.dockerfile, *(paths.ROOT / source for source in self.sources), base["Id"])


_CONTROL = ("docker/control/Dockerfile", "docker/control/requirements.txt")
PARTS = {
    "control": Part(
        "docker/control/Dockerfile",
        base_images.ODOO,
        (*_CONTROL, "docker/control/entrypoint.py", "addons/odooops_control"),
    ),
    "agent": Part(
        "docker/agent/Dockerfile",
        base_images.DEBIAN,
        ("docker/agent", "agent", "setup.cfg", "pyproject.toml"),
    ),
    # The addon is mounted: only what it runs with is inside.
    "test": Part(
        "docker/control/Dockerfile",
        base_images.ODOO,
        (*_CONTROL, "docker/control/requirements-test.txt"),
        "test",
    ),
}
