"""A GitHub of our own: answers as GitHub's description says, and refuses what that does not allow."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from .common import fixtures_folder

TOKEN = "token-of-the-tests"
_TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}


class FakeGithub:
    """Remembers what it was told.

    :ivar told: method, path, body and token of each call that was taken
    :ivar failures: what the next calls are answered instead: status and headers
    """

    def __init__(self):
        self.told, self.failures, self.problems = [], [], []
        self.deployments, self.comments = [], []
        self._calls = json.loads((fixtures_folder().parent / "github" / "api.json").read_text())
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                fake._answer(self)

            do_POST = do_PATCH = do_GET  # noqa: N815  as http.server calls them

            def log_message(self, *_args):
                """Keep the tests' log clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def bodies(self, ending, method="POST"):
        """Return the bodies of the calls whose path ends so."""
        return [one["body"] for one in self.told if one["method"] == method and one["path"].endswith(ending)]

    def _answer(self, request):
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length)) if length else None
        parts = urlsplit(request.path)
        if self.failures:
            return self._send(request, *self.failures.pop(0))
        call, values = self._find(request.command, parts.path)
        problem = self._problem(call, body, parts.query) if call else f"no such call: {request.command} {parts.path}"
        if problem:
            self.problems.append(problem)
            return self._send(request, 422 if call else 404, {})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.told.append({"method": call["method"], "path": parts.path, "body": body, "token": token})
        return self._send(request, call["status"], {}, self._result(call, values, body, parse_qs(parts.query)))

    def _find(self, method, path):
        for call in self._calls:
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(call["path"]))
            match = re.fullmatch(pattern, path)
            if match and call["method"] == method:
                return call, match.groupdict()
        return None, {}

    def _problem(self, call, body, query):
        unknown = set(parse_qs(query)) - set(call["query"])
        if unknown:
            return f"{call['path']} takes no {unknown}"
        if call["body"] is None:
            return f"{call['path']} takes no body" if body is not None else None
        return _mismatch(call["body"], body, call["path"])

    def _result(self, call, values, body, query):
        path = call["path"]
        if path.endswith("/deployments"):
            if call["method"] == "GET":
                return [one for one in self.deployments if one["task"] == query["task"][0]]
            self.deployments.append({**call["answer"], **body, "id": 900 + len(self.deployments)})
            return self.deployments[-1]
        if path.endswith("/comments"):
            if call["method"] == "GET":
                page = int(query["page"][0])
                return self.comments[(page - 1) * 100 : page * 100]
            self.comments.append({**call["answer"], "id": 500 + len(self.comments), "body": body["body"]})
            return self.comments[-1]
        if "comment_id" in values:
            [comment] = [one for one in self.comments if one["id"] == int(values["comment_id"])]
            comment["body"] = body["body"]
            return comment
        return call["answer"]

    def _send(self, request, status, headers, answer=None):
        text = json.dumps(answer if status < 300 else {"message": "as asked"}).encode() if status != 204 else b""
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text)


def _mismatch(schema, value, where):
    """Return how ``value`` differs from its schema, or None."""
    if "anyOf" in schema or "oneOf" in schema:
        found = [_mismatch(one, value, where) for one in schema.get("anyOf", schema.get("oneOf"))]
        return None if None in found else found[-1]
    kind = _TYPES[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return f"{where} is no {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} may not be {value!r}"
    if kind is list:
        return next(filter(None, (_mismatch(schema["items"], one, f"{where}[]") for one in value)), None)
    if kind is dict and "properties" in schema:
        missing, unknown = set(schema.get("required", ())) - set(value), set(value) - set(schema["properties"])
        if missing or unknown:
            return f"{where}: missing {missing}, unknown {unknown}"
        parts = (_mismatch(schema["properties"][name], one, f"{where}.{name}") for name, one in value.items())
        return next(filter(None, parts), None)
    return None
