"""Private submodules: the right credential for each repository, kept out of sight, and a name in each error."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import fetch_submodules
import pytest
from odooops_ci import repositories, submodules
from odooops_ci.errors import InvalidInput, Refused

from tests.git_server import GitServer, git

TOKEN = "ghs_0123456789abcdefSECRET"


def key_text(name: str) -> str:
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0IG9m{name}SECRET\n-----END OPENSSH PRIVATE KEY-----\n"


class Customer:
    """A repository with submodules on a server of its own."""

    def __init__(self, server: GitServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.path = folder / "customer"
        git(folder, "init", "--quiet", "--initial-branch=main", str(self.path))

    def addons(self, name: str, **options: object) -> Path:
        """Make a repository with one file on the server; return a checkout of it."""
        path = self.folder / name.replace("/", "-")
        git(self.folder, "init", "--quiet", "--initial-branch=main", str(path))
        (path / "file").write_text(name)
        git(path, "add", "--all")
        git(path, "commit", "--quiet", "--message=first")
        self.server.create(name, path, **options)  # type: ignore[arg-type]
        return path

    def pin(self, path: str, checkout: Path, url: str) -> None:
        """Pin a checkout's commit as a submodule with this address."""
        git(self.path, "config", "--file", ".gitmodules", f"submodule.{path}.path", path)
        git(self.path, "config", "--file", ".gitmodules", f"submodule.{path}.url", url)
        commit = git(checkout, "rev-parse", "HEAD")
        git(self.path, "add", ".gitmodules")
        git(self.path, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        git(self.path, "commit", "--quiet", f"--message=pin {path}")

    def content(self, path: str) -> str:
        return (self.path / path / "file").read_text()


@pytest.fixture
def git_server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path / "server", TOKEN) as server:
        yield server


@pytest.fixture
def customer(git_server: GitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Customer:
    for name in ("ODOOOPS_SUBMODULE_KEYS", "ODOOOPS_SUBMODULE_TOKEN", "GIT_CONFIG_COUNT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_SERVER_URL", git_server.url)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("PATH", f"{git_server.install_ssh(tmp_path / 'bin')}:{os.environ['PATH']}")
    return Customer(git_server, tmp_path)


def fetch(customer: Customer, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = fetch_submodules.main(["--source", str(customer.path)])
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize("form", ["git@127.0.0.1:{name}.git", "{url}/{name}.git", "{url}/{name}"])
def test_a_deploy_key_for_each_repository(customer, monkeypatch, capfd, form):
    keys = {}
    for name in ("acme/one", "acme/two"):
        keys[name] = key_text(name.replace("/", ""))
        customer.pin(
            f"addons/{name[5:]}", customer.addons(name, key=keys[name]), form.format(name=name, url=customer.server.url)
        )
    # Without its last newline, as secrets are pasted.
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", json.dumps({name: key.strip() for name, key in keys.items()}))
    code, out, err = fetch(customer, capfd)
    assert code == 0, err
    assert (customer.content("addons/one"), customer.content("addons/two")) == ("acme/one", "acme/two")
    assert out.count("with its deploy key") == 2
    calls = [json.loads(line) for line in customer.server.ssh_log.read_text().splitlines()]
    assert {call["mode"] for call in calls} == {"0o600"}
    for call in calls:
        assert "SECRET" not in " ".join(call["argv"])
        assert {"StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "BatchMode=yes"} <= set(call["argv"])
        assert call["known_hosts"].startswith("github.com ssh-ed25519 ")
        key_file = Path(call["argv"][call["argv"].index("-i") + 1])
        assert not key_file.parent.exists()
    assert "SECRET" not in out + err + (customer.path / ".git/config").read_text()


@pytest.mark.parametrize("form", ["git@127.0.0.1:{name}.git", "ssh://git@127.0.0.1/{name}.git", "{url}/{name}.git"])
def test_one_token_for_all(customer, monkeypatch, capfd, form):
    for name in ("acme/one", "acme/two"):
        customer.pin(name[5:], customer.addons(name), form.format(name=name, url=customer.server.url))
    monkeypatch.setenv("ODOOOPS_SUBMODULE_TOKEN", TOKEN)
    code, out, err = fetch(customer, capfd)
    assert code == 0, err
    assert (customer.content("one"), customer.content("two")) == ("acme/one", "acme/two")
    assert TOKEN not in out + err + (customer.path / ".git/config").read_text()
    assert not customer.server.ssh_log.exists()


def test_a_key_goes_before_the_token(customer, monkeypatch, capfd):
    key = key_text("one")
    customer.pin("one", customer.addons("acme/one", key=key), f"{customer.server.url}/acme/one.git")
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", json.dumps({"acme/one": key}))
    monkeypatch.setenv("ODOOOPS_SUBMODULE_TOKEN", TOKEN)
    assert fetch(customer, capfd)[0] == 0
    assert customer.server.requests == []


@pytest.mark.parametrize("form", ["git@127.0.0.1:{name}.git", "{url}/{name}.git"])
def test_public_ones_need_nothing(customer, capfd, form):
    customer.pin("one", customer.addons("acme/one", private=False), f"{customer.server.url}/acme/one.git")
    code, out, err = fetch(customer, capfd)
    assert code == 0, err
    assert "with no credential" in out


def test_submodules_within_submodules(customer, monkeypatch, capfd):
    inner = customer.addons("acme/inner", key=key_text("inner"))
    middle = Customer(customer.server, customer.folder)
    middle.path = customer.addons("acme/empty", private=False)
    middle.pin("deep/inner", inner, "git@127.0.0.1:acme/inner.git")
    customer.server.create("acme/middle", middle.path, key=key_text("middle"))
    customer.pin("middle", middle.path, "git@127.0.0.1:acme/middle.git")
    keys = {f"acme/{name}": key_text(name) for name in ("inner", "middle")}
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", json.dumps(keys))
    code, out, err = fetch(customer, capfd)
    assert code == 0, err
    assert customer.content("middle/deep/inner") == "acme/inner"
    assert "middle/deep/inner: 127.0.0.1/acme/inner" in out
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", json.dumps({"acme/middle": keys["acme/middle"]}))
    subprocess.run(
        ["git", "submodule", "deinit", "--all", "--force"], cwd=customer.path, check=True, capture_output=True
    )
    subprocess.run(["rm", "-rf", str(customer.path / ".git/modules")], check=True)
    code, out, err = fetch(customer, capfd)
    assert code == 1
    assert "Submodule middle/deep/inner (127.0.0.1/acme/inner) can't be fetched" in err


def test_a_relative_address(customer, capfd):
    git(customer.path, "remote", "add", "origin", f"{customer.server.url}/acme/customer.git")
    customer.pin("one", customer.addons("acme/one", private=False), "../one.git")
    assert fetch(customer, capfd)[0] == 0
    assert customer.content("one") == "acme/one"


def test_a_missing_key_fails_with_the_submodules_name(customer, monkeypatch, capfd):
    customer.pin("addons/one", customer.addons("acme/one", key=key_text("one")), "git@127.0.0.1:acme/one.git")
    customer.pin("addons/two", customer.addons("acme/two", key=key_text("two")), f"{customer.server.url}/acme/two.git")
    customer.pin("addons/three", customer.addons("acme/three", key=key_text("three")), "git@127.0.0.1:acme/three.git")
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", json.dumps({"acme/three": key_text("three")}))
    # Without key or token git@ is tried as a public repository.
    code, _out, err = fetch(customer, capfd)
    assert code == 1
    one, two = sorted(err.strip().splitlines())
    assert "Submodule addons/one (127.0.0.1/acme/one) can't be fetched with no credential" in one
    assert 'put its deploy key into the secret ODOOOPS_SUBMODULE_KEYS as "acme/two"' in two
    assert "there is no such repository, as it does of private ones" in one
    assert "there is no such repository, as it does of private ones" in two
    # The others are here all the same: one run tells all that is missing.
    assert customer.content("addons/three") == "acme/three"


def test_a_key_that_is_not_accepted(customer, monkeypatch, capfd):
    customer.pin("one", customer.addons("acme/one", key=key_text("one")), "git@127.0.0.1:acme/one.git")
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", json.dumps({"acme/one": key_text("other")}))
    code, out, err = fetch(customer, capfd)
    assert code == 1
    assert (
        "Submodule one (127.0.0.1/acme/one) can't be fetched with its deploy key: the server does not accept the key"
        in err
    )
    assert "add the key's public half to acme/one" in err
    assert "SECRET" not in out + err


def test_a_token_that_opens_nothing(customer, monkeypatch, capfd):
    customer.pin("one", customer.addons("acme/one"), f"{customer.server.url}/acme/one.git")
    monkeypatch.setenv("ODOOOPS_SUBMODULE_TOKEN", "ghs_wrongSECRET")
    code, out, err = fetch(customer, capfd)
    assert code == 1
    assert "can't be fetched with the token" in err
    assert "give the token read access to acme/one" in err
    assert "SECRET" not in out + err


def test_the_token_goes_to_its_own_server_only(customer, monkeypatch, capfd, tmp_path):
    with GitServer(tmp_path / "elsewhere", TOKEN) as elsewhere:
        (tmp_path / "other").mkdir()
        other = Customer(elsewhere, tmp_path / "other")
        checkout = other.addons("acme/one", private=False)
        customer.pin("one", checkout, f"{elsewhere.url}/acme/one.git")
        monkeypatch.setenv("ODOOOPS_SUBMODULE_TOKEN", TOKEN)
        assert fetch(customer, capfd)[0] == 0
        assert elsewhere.requests
        assert {authorization for _path, authorization in elsewhere.requests} == {""}


def test_a_commit_that_is_not_there(customer, capfd):
    checkout = customer.addons("acme/one", private=False)
    (checkout / "file").write_text("never pushed")
    git(checkout, "commit", "--quiet", "--all", "--message=never pushed")
    customer.pin("one", checkout, f"{customer.server.url}/acme/one.git")
    code, _out, err = fetch(customer, capfd)
    assert code == 1
    assert "Submodule one" in err
    assert "the commit that is pinned is not there" in err


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ext::sh -c touch% canary", "is none that is fetched here"),
        ("file:///etc", "is none that is fetched here"),
        ("/srv/git/one", "is none that is fetched here"),
        ("https://user:hunter2@example.com/acme/one.git", "has a user or password in it"),
        ("https://ghp_hunter2@example.com/acme/one.git", "has a user or password in it"),
        ("https://example.com/one", "names no repository"),
        ("https://example.com/../../one", "names no repository"),
    ],
)
def test_addresses_that_are_not_fetched(customer, capfd, url, sentence):
    customer.pin("one", customer.addons("acme/one"), url)
    code, out, err = fetch(customer, capfd)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("Submodule one: ")
    assert sentence in err
    assert "hunter2" not in out + err


def test_a_pin_that_gitmodules_does_not_name(customer, capfd):
    customer.pin("one", customer.addons("acme/one"), "git@127.0.0.1:acme/one.git")
    git(customer.path, "rm", "--quiet", "--cached", ".gitmodules")
    (customer.path / ".gitmodules").unlink()
    code, _out, err = fetch(customer, capfd)
    assert code == 1
    assert ".gitmodules does not say where from" in err


def test_no_submodules(customer, capfd):
    assert fetch(customer, capfd) == (0, "The repository has no submodules.\n", "")
    assert fetch_submodules.main(["--source", str(customer.folder)]) == 1


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("-----BEGIN SECRET", "is no JSON"),
        ("[]", "must be a JSON object"),
        ('{"acme": "-----BEGIN"}', "is no repository, such as owner/name"),
        ('{"acme/one": "SECRET"}', "acme/one has no private key"),
        ('{"acme/one": 7}', "acme/one has no private key"),
        (
            json.dumps({"acme/one": key_text("x"), "acme/two": key_text("x") + "\r\n"}),
            "acme/one and acme/two have the same key",
        ),
    ],
)
def test_bad_keys(customer, monkeypatch, capfd, keys, sentence):
    monkeypatch.setenv("ODOOOPS_SUBMODULE_KEYS", keys)
    code, out, err = fetch(customer, capfd)
    assert (code, err.count("\n")) == (2, 1)
    assert sentence in err
    assert "SECRET" not in out + err


def test_secrets_show_themselves_to_nobody():
    credentials = repositories.Credentials("https://github.com", {"acme/one": key_text("one")}, TOKEN)
    for url in ("git@github.com:acme/one.git", "https://github.com/acme/two"):
        route = repositories.route(repositories.parse(url), credentials)
        assert "SECRET" not in repr(route) + repr(credentials)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:OCA/web.git", "github.com/OCA/web"),
        ("ssh://git@git.example.com:2222/a/b.git", "git.example.com:2222/a/b"),
        ("https://gitlab.com/group/sub/name", "gitlab.com/group/sub/name"),
        ("github.com:OCA/web", "github.com/OCA/web"),
    ],
)
def test_forms_of_addresses(url, name):
    assert repositories.parse(url).name == name


def test_keys_of_other_servers():
    text = json.dumps({"git.example.com/a/b": key_text("b"), "https://gitlab.com/c/d.git": key_text("d")})
    credentials = repositories.read_credentials({"ODOOOPS_SUBMODULE_KEYS": text})
    assert repositories.route(repositories.parse("https://git.example.com/A/b"), credentials).key == key_text("b")
    assert repositories.route(repositories.parse("git@gitlab.com:c/d.git"), credentials).key == key_text("d")
    assert repositories.route(repositories.parse("git@github.com:a/b.git"), credentials).key is None


def test_settings_are_added_to_what_is_there():
    before = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
    after = submodules.with_settings(before, [("d.e", "f")])
    assert after == {**before, "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_1": "d.e", "GIT_CONFIG_VALUE_1": "f"}
    with pytest.raises(InvalidInput):
        submodules.with_settings({"GIT_CONFIG_COUNT": "x"}, [])
    with pytest.raises(Refused):
        repositories.parse("")
