"""A server in a thread, and a client that sends what it is told: no library between the test and the bytes."""

import contextlib
import dataclasses
import http.client
import json
import logging
import threading
import time
from urllib.parse import urlencode

DOCUMENTS = [
    "Every effort moves you.",
    "Every day holds a new lesson.\n\nAnd a <|endoftext|> in the text.",
    "naïve 👋🏽 café",
]
VECTORS = "glove-wiki-gigaword-50"


@dataclasses.dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    def __init__(self, port, server=None):
        self.port, self.server = port, server
        self.url = f"http://localhost:{port}"

    def ask(self, method, path, *, body=None, query=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            target = path + (f"?{urlencode(query)}" if query else "")
            given = {"Host": f"localhost:{self.port}", **dict(headers)}
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
                given.setdefault("Content-Type", "application/json")
            connection.request(method, target, body=body, headers=given)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path, **rest):
        return self.ask("GET", f"/api/v1/{path}", **rest)

    def post(self, path, body, **rest):
        return self.ask("POST", f"/api/v1/{path}", body=body, **rest)


@contextlib.contextmanager
def log_of_the_server(caplog):
    """Have ``caplog`` see what a running server logs: uvicorn keeps its log to itself."""
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    try:
        yield
    finally:
        logger.removeHandler(caplog.handler)


@contextlib.contextmanager
def serving(settings):
    """A server of these settings, in a thread; gives its client."""
    from foreword.explorer import server

    listener = server.bind("127.0.0.1", 0)
    running = server.make_server(settings)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Client(listener.getsockname()[1], running)
    finally:
        running.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()
