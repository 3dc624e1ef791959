"""The server of the explorer: on this machine alone, for whoever has the address that was printed.

It is bound to 127.0.0.1. A random token opens the page and comes with every question in a header; the headers
``Host`` and ``Origin`` are compared, against names of other machines that point here and against pages of
others; the page may run and load nothing that it does not bring (Content-Security-Policy).
"""

from __future__ import annotations

import hmac
import json
import secrets
import select
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from fastcart.checks import reason, shown
from fastcart.errors import InputError, MissingDependencyError
from fastcart.exploring.assembly import page
from fastcart.exploring.newest import Newest
from fastcart.solvers import compile_clock
from fastcart.solvers.threads import Stop, StoppedError

MOST_BYTES = 4_000_000  # of a question
_SILENT = 4.0  # seconds after which a connection is let go
_MOST_DIGITS = 15  # of a number that a page counts by
_LOOK = 0.1  # seconds between looks whether pages have left
ACTIONS = ("solve", "python", "toml", "load", "measured")
COMPILED = "compiled"  # asked while an answer is awaited: for how long has this process compiled?
TEXT, JSON, BYTES = "text/plain; charset=utf-8", "application/json", "application/octet-stream"


class Explored(Protocol):
    """What is explored: its page, what the page must know, and answers by the names of `ACTIONS`."""

    page: str

    def facts(self) -> dict[str, Any]:
        """Return what the page must know."""


class ExplorerServer(ThreadingHTTPServer):
    """Serves a page and answers its questions, until it is shut down.

    Parameters
    ----------
    explored : callable
        ``explored(name)`` returns what a page of that name is about; None for the one that was asked for. It
        raises an InputError for names that nobody may ask for.
    port : int
        0 for any that is free.
    more : mapping
        Further facts for every page, e.g. settings to begin with.

    Attributes
    ----------
    address : str
        What opens the page.
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(
        self,
        explored: Callable[[str | None], Explored],
        *,
        port: int = 0,
        more: Mapping[str, Any] | None = None,
    ):
        self._open: set[socket.socket] = set()  # connections
        super().__init__(("127.0.0.1", port), _Handler)
        self.explored, self.more = explored, dict(more or {})
        self.token, self.newest = secrets.token_urlsafe(24), Newest()
        self._asking: dict[Stop, socket.socket] = {}
        self._asking_lock = threading.Lock()

    @property
    def address(self) -> str:
        """What opens the page."""
        return f"http://127.0.0.1:{self.server_address[1]}/?token={self.token}"

    def watch(self, stop: Stop, connection: socket.socket) -> None:
        """Stop the work for a page when it leaves."""
        with self._asking_lock:
            self._asking[stop] = connection

    def forget(self, stop: Stop) -> None:
        """Watch a connection no longer."""
        with self._asking_lock:
            self._asking.pop(stop, None)

    def service_actions(self) -> None:
        """Stop the work for pages that have left; called again and again."""
        with self._asking_lock:
            asking = list(self._asking.items())
        for stop, connection in asking:
            if _has_left(connection):
                stop()

    def run(self) -> None:
        """Serve until Ctrl-C, or `shutdown` by another thread."""
        try:
            self.serve_forever(poll_interval=_LOOK)
        finally:
            self.newest.stop_all()
            self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the port and all connections, whose threads end then."""
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where a page leaves in the middle of an answer."""


def _has_left(connection: socket.socket) -> bool:
    try:
        readable = select.select([connection], [], [], 0)[0]
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):  # reset, or closed here
        return True


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


class _Handler(BaseHTTPRequestHandler):
    """Answers the questions of a page that come by one connection, until it is closed or idle."""

    protocol_version = "HTTP/1.1"
    timeout = _SILENT
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    server: ExplorerServer
    server_version, sys_version = "fastcart", ""

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Give the page to whoever has the token."""
        asked = urlsplit(self.path)
        if asked.path == "/favicon.ico":
            return self._reply(204, b"")
        query = parse_qs(asked.query)
        if asked.path != "/" or not self._allowed(query.get("token", [""])[0]):
            return self._forbidden()
        try:
            explored = self.server.explored(query.get("model", [None])[0])
            facts = {**explored.facts(), **self.server.more, "token": self.server.token}
        except (InputError, MissingDependencyError) as error:
            return self._reply(400, f"{error}\n".encode())
        nonce = secrets.token_urlsafe(16)
        self._reply(200, page(explored.page, facts, nonce).encode(), "text/html; charset=utf-8", nonce)

    def do_POST(self) -> None:
        """Answer a question of the page."""
        if not self._allowed(self.headers.get("X-Token", "")):
            return self._forbidden()
        try:
            asked = urlsplit(self.path)
            action = asked.path.removeprefix("/")
            if action == COMPILED:
                self._body()  # the next question follows it
                return self._reply(200, json.dumps(compile_clock.seconds()).encode(), JSON)
            if action not in ACTIONS:
                raise InputError(f"There is nothing at {asked.path!r}.")
            answer = self._answer(action, parse_qs(asked.query), self._body())
        except StoppedError:
            return self._reply(409, b"a newer question came\n")
        except (InputError, MissingDependencyError) as error:
            return self._reply(400, f"{error}\n".encode())
        except Exception as error:
            return self._reply(
                500, f"an error of fastcart: {type(error).__name__}: {reason(error)}\n".encode()
            )
        if isinstance(answer, bytes):
            return self._reply(200, answer, BYTES)
        if isinstance(answer, str):
            return self._reply(200, answer.encode())
        self._reply(200, json.dumps(answer).encode(), JSON)

    def _answer(self, action: str, query: Mapping[str, list[str]], given: dict[str, Any]) -> Any:
        explored = self.server.explored(query.get("model", [None])[0])
        work = getattr(explored, action, None)
        if work is None:
            raise InputError(f"This page has no {action!r}.")
        if action != "solve":
            return work(given)
        stops: list[Stop] = []

        def begun(stop: Stop) -> None:
            stops.append(stop)
            self.server.watch(stop, self.connection)

        number = query.get("number", ["0"])[0]
        if not _is_count(number):
            raise InputError(
                f"The number of a question must be a whole number from 0 on, not {shown(number)}."
            )
        whose = query.get("page", [""])[0]
        try:
            return self.server.newest.answer(whose, int(number), lambda: work(given), begun)
        finally:
            for stop in stops:
                self.server.forget(stop)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not _is_count(length) or int(length) > MOST_BYTES:
            raise InputError(f"A question has at most {MOST_BYTES} bytes.")
        try:
            given = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise InputError("A question must be an object of JSON.")
        return given

    def _allowed(self, token: str) -> bool:
        """Whether a request comes from the page, on this machine, of whoever has the token."""
        port = self.server.server_address[1]
        hosts = [f"127.0.0.1:{port}", f"localhost:{port}"]
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in hosts or origin not in (None, *(f"http://{x}" for x in hosts)):
            return False
        return hmac.compare_digest(token.encode(), self.server.token.encode())

    def _forbidden(self) -> None:
        self._reply(403, b"Open the address that 'fastcart explore' printed.\n")

    def _reply(self, code: int, body: bytes, kind: str = TEXT, nonce: str = "") -> None:
        own = f"'nonce-{nonce}'" if nonce else "'none'"
        self.send_response(code)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"default-src 'none'; script-src {own}; style-src {own}; "
            "connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }.items():
            self.send_header(name, value)
        if code >= 400:  # what was sent may not have been read
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
