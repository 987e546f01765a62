"""Real servers that take alerts: HTTP for json://, ntfy:// and their like, SMTP for mailto://."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.threaded import in_a_thread

SECRET = "hunter2pass"


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it, and answers as it is told to.

    Attributes:
        got: path and JSON document of each request, in order.
        answer: the status of the next answers.
        stalled: while set, requests are answered with a byte now and then, and never to the end.
        entered: set as soon as one of these has come.
        released: set it to end them.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.answer: Callable[[str], int] = lambda _path: 200
        self.stalled = threading.Event()
        self.entered = threading.Event()
        self.released = threading.Event()

    def url(self, scheme: str, path: str) -> str:
        """Where it is, with a secret in it."""
        return f"{scheme}://me:{SECRET}@127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was ended is no news."""


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast("Receiver", self.server)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if server.stalled.is_set():
            server.entered.set()
            while not server.released.wait(0.05):
                self.wfile.write(b"H")  # no read times out, and no answer ever ends
                self.wfile.flush()
            return
        status = server.answer(self.path)
        server.got.append((self.path, json.loads(body)))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is tested says what it got."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """An HTTP server for the duration of the block."""
    with in_a_thread(Receiver()) as server:
        try:
            yield server
        finally:
            server.released.set()


class MailServer(socketserver.ThreadingTCPServer):
    """An SMTP server that asks for a name and a password; keeps the mail it takes.

    Attributes:
        mails: what arrived.
        refuses: whether every password is wrong.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.mails: list[EmailMessage] = []
        self.refuses = False

    @property
    def url(self) -> str:
        """Where it is."""
        port = self.server_address[1]
        people = "from=night@example.com&to=me@example.com"
        return f"mailto://me:{SECRET}@127.0.0.1:{port}?mode=insecure&{people}"


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast("MailServer", self.server)
        self._say("220 test")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "EHLO":
                self._say("250-test\r\n250 AUTH PLAIN")
            elif verb == "AUTH":
                no = f"535 5.7.8 {SECRET} is not the password"
                self._say(no if server.refuses else "235 fine")
            elif verb == "DATA":
                self._say("354 go on")
                lines = []
                while (part := self.rfile.readline()) != b".\r\n":
                    lines.append(part)
                mail = message_from_bytes(b"".join(lines), policy=policy.default)
                server.mails.append(mail)
                self._say("250 taken")
            elif verb == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fine")

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """An SMTP server for the duration of the block."""
    with in_a_thread(MailServer()) as server:
        yield server
