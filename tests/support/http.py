"""A client of the HTTP API for tests: plain requests over a socket of the standard library."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode

from postroom.control.tokens import Role, Tokens
from postroom.core.clock import SystemClock
from tests.support.daemon import Daemon

CONSOLE = '[console]\naddress = ["127.0.0.1:0"]\n'


class Reply:
    """What came back."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Http:
    """One user of the API of a daemon that has a console."""

    def __init__(self, daemon: Daemon, token: str = "") -> None:
        self.daemon, self.token = daemon, token

    @classmethod
    def of(cls, daemon: Daemon, role: Role, name: str = "", **more: Any) -> Http:
        """Return a user with a new token."""
        tokens = Tokens(daemon.base / "spool", SystemClock())
        try:
            text, _ = tokens.create(name or role.value, role, **more)
        finally:
            tokens.close()
        return cls(daemon, text)

    @property
    def address(self) -> tuple[str, int]:
        """Where the console listens, once it runs."""
        self.daemon.wait_until(self._is_up, 30, "the console runs")
        host, _, port = self.daemon.status().companions[0].listen[0].rpartition(":")
        return host, int(port)

    def _is_up(self) -> bool:
        return any(one.state == "running" for one in self.daemon.status().companions)

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        query: dict[str, Any] | None = None,
        timeout: float = 60.0,
    ) -> Reply:
        """Do a request; a body that is not bytes goes as JSON."""
        host, port = self.address
        given = {"Host": f"{host}:{port}"}
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        octets = body if isinstance(body, bytes) else None
        if body is not None and octets is None:
            octets = json.dumps(body).encode()
            given["Content-Type"] = "application/json"
        given.update(headers or {})
        if not path.startswith(("/healthz", "/readyz", "/metrics", "/api", "/static")):
            path = "/api/v1" + path
        if query:
            path += "?" + urlencode(query, doseq=True)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request(method, path, octets, given)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return what a GET gives; it must be there."""
        reply = self.ask("GET", path, query=query)
        assert reply.status == 200, (reply.status, reply.body)
        return reply.json

    def post(self, path: str, body: object = None, **query: Any) -> Any:
        """Return what a POST gives; it must be done."""
        reply = self.ask("POST", path, body if body is not None else {}, query=query)
        assert reply.status in (200, 201, 202), (reply.status, reply.body)
        return reply.json
