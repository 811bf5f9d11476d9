"""A person's web session in an Odoo, as the web client has it: log in, then call methods of models."""

from __future__ import annotations

from typing import Any

import requests

TIMEOUT_SECONDS = 120.0


class RefusalError(Exception):
    """Odoo answered with an error; the text is what the person would read."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind


class Console:
    """One logged-in person.

    :param url: where the server listens; the requests never leave the loopback range
    :param host: the Host header when the server is behind a proxy that chooses by it
    """

    def __init__(self, url: str, database: str, login: str, password: str, host: str | None = None) -> None:
        self._url, self.login = url.rstrip("/"), login
        self._session = requests.Session()
        # The machine's proxy settings are for the world outside.
        self._session.trust_env = False
        # Caddy closes idle connections when a route is added; nothing may be sent twice, so none is kept.
        self._session.headers["Connection"] = "close"
        if host:
            self._session.headers["Host"] = host
        answer = self._post("/web/session/authenticate", {"db": database, "login": login, "password": password})
        if not answer.get("uid"):
            raise RefusalError(f"{login} can't log in.", "AccessDenied")
        self.uid: int = answer["uid"]

    def call(self, model: str, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a public method as the web client does."""
        params = {"model": model, "method": method, "args": list(args), "kwargs": kwargs}
        return self._post(f"/web/dataset/call_kw/{model}/{method}", params)

    def search_read(self, model: str, domain: list[Any], fields: list[str], **options: Any) -> list[dict[str, Any]]:
        return self.call(model, "search_read", domain=domain, fields=fields, **options)  # type: ignore[no-any-return]

    def one(self, model: str, domain: list[Any], fields: list[str], **options: Any) -> dict[str, Any] | None:
        """Return the first record that matches, or None."""
        found = self.search_read(model, domain, fields, limit=1, **options)
        return found[0] if found else None

    def read(self, model: str, id_: int, fields: list[str]) -> dict[str, Any]:
        return self.call(model, "read", [id_], fields)[0]  # type: ignore[no-any-return]

    def create(self, model: str, **values: Any) -> int:
        return self.call(model, "create", [values])[0]  # type: ignore[no-any-return]

    def write(self, model: str, id_: int, **values: Any) -> None:
        self.call(model, "write", [id_], values)

    def ensure(self, model: str, key: dict[str, Any], at_first: dict[str, Any] | None = None, **values: Any) -> int:
        """Return the id of the record with these key fields, made (with `at_first`) or brought up to date."""
        found = self.one(
            model, [[name, "=", value] for name, value in key.items()], ["id"], context={"active_test": False}
        )
        if not found:
            return self.create(model, **key, **(at_first or {}), **values)
        self.write(model, found["id"], **values)
        return int(found["id"])

    def ref(self, xmlid: str) -> int:
        """Return the id behind an external identifier."""
        module, _dot, name = xmlid.partition(".")
        found = self.one("ir.model.data", [["module", "=", module], ["name", "=", name]], ["res_id"])
        if not found:
            raise RefusalError(f"There is no {xmlid}.", "MissingError")
        return int(found["res_id"])

    def confirm(self, action: Any, password: str) -> Any:
        """Type the password where Odoo asks for it again before it does something; return the answer."""
        if not isinstance(action, dict) or action.get("res_model") != "res.users.identitycheck":
            return action
        return self.call(action["res_model"], "run_check", [action["res_id"]], context={"password": password})

    def _post(self, path: str, params: dict[str, Any]) -> Any:
        body = {"jsonrpc": "2.0", "method": "call", "params": params}
        response = self._session.post(self._url + path, json=body, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        answer = response.json()
        if "error" in answer:
            error, data = answer["error"], answer["error"].get("data") or {}
            raise RefusalError(data.get("message") or error["message"], data.get("name", "").rpartition(".")[2])
        return answer.get("result")
