"""Docker Engine through its SDK. Every object carries the stack's label and nothing without it is touched."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from ..commands import docker as build
from ..errors import AgentError, Permanent, Retryable
from ..facts import Container, ImageManifest
from ..neutralise import MAIL_HOST
from ..ports import Cancelled, ContainerSpec, OnLine
from ..targets import Targets
from . import manifest
from .shelf import Shelf
from .streams import STREAMS, Chunk, Stream, after, demultiplexed, follow, merged

PULL_PROGRESS_SECONDS = 2.0
REMOVAL_WAIT_SECONDS = 30.0
STOP_GRACE_SECONDS = 10
GONE = re.compile(
    "manifest unknown|manifest for .* not found|not found: manifest|name unknown|repository .* not found", re.I
)
DENIED = re.compile(r"unauthorized|denied|no basic auth|authentication required", re.I)
NO_ADDRESSES = re.compile(r"non-overlapping IPv4 address pool|all predefined address pools", re.I)


class DockerRuntime:
    """The runtime port on one Docker Engine (API 1.41 or later)."""

    def __init__(
        self,
        client: Any,  # docker.DockerClient
        stack: str,
        data_root: Path,
        targets: Targets,
        attach: tuple[str, ...],
        shelf: Path,
    ) -> None:
        """`attach` names the containers that sit on every environment's network; the first is the proxy's.

        `shelf` is the folder where the images' manifests are kept.
        """
        self._api: Any = client.api
        self._stack = stack
        self._data_root = data_root
        self._targets = targets
        self._attach = attach
        self._shelf = Shelf(shelf)
        self._reading = threading.Lock()

    # -- images

    def pull(self, image: str, on_line: OnLine) -> None:
        """Have `repository@digest` here; see the port."""
        with _explained():
            if self._has_image(image):
                on_line(f"{image} is here already")
                self.read_manifest(image)
                return
            repository, _, digest = image.partition("@")
            try:
                for event in self._pull_events(repository, digest, on_line):
                    if "error" in event:
                        raise _pull_failure(image, str(event["error"]))
            except APIError as error:
                raise _pull_failure(image, str(error.explanation or error)) from error
            self.read_manifest(image)

    def read_manifest(self, image: str) -> ImageManifest:
        """Read the image's own manifest, once out of a container that is never started, then from the shelf."""
        digest = image.partition("@")[2]
        with self._reading, _explained():
            text = self._shelf.find(digest)
            if text is None:
                text = self._read_file(image, manifest.PATH)
                self._shelf.keep(digest, text)
        return manifest.parse(text, image)

    def _has_image(self, image: str) -> bool:
        try:
            self._api.inspect_image(image)
        except ImageNotFound:
            return False
        return True

    def _pull_events(self, repository: str, digest: str, on_line: OnLine) -> Iterator[Mapping[str, Any]]:
        told = 0.0
        self._api.reload_config()  # somebody may have logged in to the registry since
        for event in self._api.pull(repository, tag=digest, stream=True, decode=True):
            yield event
            if time.monotonic() - told >= PULL_PROGRESS_SECONDS or "id" not in event:
                told = time.monotonic()
                on_line(" ".join(str(event[key]) for key in ("id", "status", "progress") if event.get(key)))

    def _read_file(self, image: str, path: str) -> bytes:
        container = f"{self._stack}-manifest"
        self._remove(container)  # of an agent that was killed here
        self._api.create_container(
            image,
            command=["true"],
            name=container,
            network_disabled=True,
            labels={"odooops.stack": self._stack},
        )
        try:
            chunks, _ = self._api.get_archive(container, path)
            return manifest.unpack(chunks, image)
        except NotFound as error:
            raise Permanent(
                f"{image} has no {path}; build it with the Dockerfile in docker/odoo.", code="no_manifest"
            ) from error
        finally:
            self._remove(container)

    def keep_images(self, environment: str, images: Sequence[str]) -> None:
        """Have an idle container run from each image: all that `docker system prune -a` spares is what runs."""
        wanted = {build.keeper_name(self._stack, environment, image): image for image in images}
        with _explained():
            for name, image in wanted.items():
                if self._inspect(name) is None:
                    arguments = build.keeper_arguments(name, image, self._stack, environment)
                    host = self._api.create_host_config(**build.keeper_host_arguments())
                    self._api.create_container(**arguments, host_config=host)
                self._api.start(name)
            labels = [f"odooops.stack={self._stack}", f"{build.KEEPER_LABEL}={environment}"]
            for listed in self._api.containers(all=True, filters={"label": labels}):
                name = str(listed["Names"][0]).removeprefix("/")
                if name not in wanted:
                    self._remove(name)

    # -- networks

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """Make the environment's bridge and connect the proxy to it."""
        with _explained():
            if not self._api.networks(filters={"name": f"^{re.escape(name)}$"}):
                self._create_network(name, labels)
            self._connect(name)

    def reconnect_proxy(self) -> None:
        """Connect the proxy to every environment's network of the stack again."""
        with _explained():
            for network in self._api.networks(
                filters={"label": [f"odooops.stack={self._stack}", "odooops.environment"]}
            ):
                self._connect(network["Name"])

    def _create_network(self, name: str, labels: Mapping[str, str]) -> None:
        try:
            self._api.create_network(**build.network_arguments(name, self._stack, labels))
        except APIError as error:
            if NO_ADDRESSES.search(str(error)):
                raise Permanent(
                    "Docker has no addresses left for another network; give it more in /etc/docker/daemon.json "
                    '("default-address-pools") and restart it.',
                    code="no_addresses",
                ) from error
            raise

    def _connect(self, network: str) -> None:
        present = self._api.inspect_network(network)["Containers"].values()
        missing = [name for name in self._attach if name not in {each["Name"] for each in present}]
        for name in missing:
            try:
                # The catcher of mail has the same name on every network.
                aliases = [MAIL_HOST] if name == f"{self._stack}-catcher" else None
                self._api.connect_container_to_network(name, network, aliases=aliases)
            except NotFound as error:
                raise Retryable(
                    f"The container {name} is not there to join {network}; start the stack's services."
                ) from error
            except APIError as error:
                # A stopped container is not listed as present although it is connected.
                if "already exists" not in str(error):
                    raise

    # -- containers

    def containers(self, environment: str) -> tuple[Container, ...]:
        """Tell the environment's containers from their labels."""
        labels = [f"odooops.stack={self._stack}", f"odooops.environment={environment}", "odooops.role"]
        with _explained():
            return tuple(_container(each) for each in self._api.containers(all=True, filters={"label": labels}))

    def spec(self, name: str) -> ContainerSpec | None:
        """Return what a container was created from."""
        with _explained():
            existing = self._inspect(name)
            return None if existing is None else build.made_from(self._own(existing, name)["Labels"])

    def create(self, spec: ContainerSpec) -> None:
        """Create without starting; keep a container of that name made from the same spec."""
        with _explained():
            existing = self._inspect(spec.name)
            if existing is not None:
                if self._own(existing, spec.name)["Labels"].get(build.SPEC_LABEL) == build.spec_hash(spec):
                    return
                if existing["State"]["Running"]:
                    raise Permanent(f"{spec.name} runs with other settings than planned; stop it, then deploy again.")
                self._remove(spec.name)
            self._create(spec)

    def start(self, name: str) -> None:
        """Start; one that runs is left alone."""
        with _explained():
            self._api.start(name)

    def stop(self, name: str, timeout_seconds: int) -> None:
        """Stop; one that is stopped or gone is left alone."""
        with _explained(), suppress(NotFound):
            self._api.stop(name, timeout=timeout_seconds)

    def remove(self, name: str) -> None:
        """Stop answering the proxy, then remove with all that belongs to it."""
        self._targets.forget(name)
        with _explained():
            if (existing := self._inspect(name)) is not None:
                self._own(existing, name)
                self._remove(name)

    def expose(self, name: str, alias: str) -> None:
        """Let the proxy find the container behind `alias` at its next try."""
        self._targets.answer(alias, name)

    def exposed_as(self, name: str) -> str | None:
        """Return the alias under which the proxy finds the container."""
        return self._targets.answered_as(name)

    def run(
        self, name: str, begin: Callable[[], None], timeout_seconds: float, on_line: OnLine, cancelled: Cancelled
    ) -> int:
        """Follow a one-off to its end; see the port."""
        with _explained():
            # By its id from here on: another container may get the name, and its log and end are not this one's.
            container = str(self._api.inspect_container(name)["Id"])
            begin()
            try:
                return self._to_its_end(name, container, timeout_seconds, on_line, cancelled)
            finally:
                # What happened matters more than a container that is left: the next deployment removes it.
                with suppress(DockerException, requests.exceptions.RequestException):
                    self._remove(container)

    def execute(self, name: str, argv: Sequence[str], timeout_seconds: float, on_line: OnLine) -> int:
        """Run argv inside a running container; 124 when it was ended for taking too long."""
        with _explained():
            command = build.limited(tuple(argv), timeout_seconds)
            made = self._api.exec_create(name, command, stdout=True, stderr=True)["Id"]
            output = self._api.exec_start(made, stream=True, demux=True)
            follow(
                demultiplexed(output), on_line, timeout_seconds + 2 * build.PROGRAM_LIMIT_KILL_SECONDS, lambda: False
            )
            return int(self._api.exec_inspect(made)["ExitCode"])

    def version(self) -> str:
        """Return the engine's version."""
        with _explained():
            return str(self._api.version()["Version"])

    def _to_its_end(
        self, name: str, container: str, timeout_seconds: float, on_line: OnLine, cancelled: Cancelled
    ) -> int:
        try:
            follow(self._whole_log(container), on_line, timeout_seconds, cancelled)
            return int(self._api.wait(container)["StatusCode"])
        except AgentError:
            with suppress(DockerException, requests.exceptions.RequestException):
                self._api.stop(container, timeout=STOP_GRACE_SECONDS)
            raise
        except (DockerException, requests.exceptions.RequestException) as error:
            # Not to be tried again: what it had done by then is done.
            raise Permanent(
                f"Docker lost {name} while it ran ({error}); see its log.", code="container_lost"
            ) from error

    def _whole_log(self, container: str) -> Iterator[Chunk]:
        """Yield what a container writes while it writes it, to the last byte of both its streams."""
        # From the log, which has every line; attaching misses those written while it is being set up.
        seen = dict.fromkeys(STREAMS, 0)
        for stream, chunk in merged({stream: self._log(container, stream, follow=True) for stream in STREAMS}):
            seen[stream] += len(chunk)
            yield stream, chunk
        # Following ends with the container, now and then before its last line is written down; a verdict may stand
        # there. When waiting ends, the log is whole.
        self._api.wait(container)
        for stream in STREAMS:
            for chunk in after(self._log(container, stream, follow=False), seen[stream]):
                yield stream, chunk

    def _log(self, container: str, stream: Stream, *, follow: bool) -> Iterator[bytes]:
        chosen = {each: each == stream for each in STREAMS}
        chunks: Iterator[bytes] = self._api.logs(container, stream=True, follow=follow, **chosen)
        return chunks

    def _create(self, spec: ContainerSpec) -> None:
        host = self._api.create_host_config(**build.host_arguments(spec, self._data_root))
        self._api.create_container(**build.container_arguments(spec, self._stack), host_config=host)

    def _inspect(self, name: str) -> Any:
        try:
            return self._api.inspect_container(name)
        except NotFound:
            return None

    def _own(self, existing: Any, name: str) -> Any:
        config = existing["Config"]
        if config["Labels"].get("odooops.stack") != self._stack:
            raise Permanent(
                f"The container {name} is not of this stack ({self._stack}); rename it or choose another stack name."
            )
        return config

    def _remove(self, container: str) -> None:
        """Remove by name or id."""
        deadline = time.monotonic() + REMOVAL_WAIT_SECONDS
        while True:
            try:
                self._api.remove_container(container, force=True, v=True)
                return
            except NotFound:
                return
            except APIError as error:
                if "already in progress" not in str(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(0.1)


def _container(listed: Mapping[str, Any]) -> Container:
    labels: Mapping[str, str] = listed["Labels"]
    return Container(
        name=str(listed["Names"][0]).removeprefix("/"),
        role=labels.get("odooops.role", ""),
        token=int(labels.get("odooops.token") or 0),
        digest=labels.get("odooops.digest", ""),
        config_hash=labels.get("odooops.config_hash", ""),
        running=listed["State"] == "running",
        operation_id=int(labels.get("odooops.operation") or 0),
    )


def _pull_failure(image: str, reason: str) -> AgentError:
    if DENIED.search(reason):
        return Permanent(
            f"The registry refuses {image} to this droplet; log in again (docker login).", code="registry_denied"
        )
    if GONE.search(reason):
        return Permanent(
            f"The registry no longer has {image}; build and register the release again.", code="image_gone"
        )
    return Retryable(
        f"The registry did not give {image} ({reason.strip()[:300]}); see that it is up.", code="registry_away"
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the SDK's errors into the agent's."""
    try:
        yield
    except APIError as error:
        reason = str(error.explanation or error)
        if "no space left" in reason:
            raise Permanent(
                "The droplet's disk is full; free some of it (docker image prune).", code="disk_full"
            ) from error
        if error.is_server_error():
            raise Retryable(f"Docker could not do it ({reason}); try again.") from error
        raise Permanent(f"Docker refused: {reason}") from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise Retryable(f"Docker does not answer ({error}); start it (systemctl start docker).") from error
