"""A server of this machine that does, on request, all that servers do wrong."""

import contextlib
import hashlib
import http.server
import re
import socket
import threading
from email.utils import formatdate


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` (path → bytes); ``faults`` (path → list of callables) are used up one a request.

    A fault is called with the handler and the bytes; it may answer on its own (returns True), or change how the rest is
    done through the handler's attributes ``ranges``, ``etag``, ``date``, ``cut``, ``extra``.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = {}, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.release = threading.Event()

    def handle_error(self, request, client_address):
        pass  # clients break off on purpose


class Handler(http.server.BaseHTTPRequestHandler):
    """The server's manners are those of a good one, until a fault changes them."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        data = self.server.files.get(self.path.partition("?")[0])
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0]
        server.asked.append((self.path, self.headers["Range"]))
        self.ranges, self.etag, self.date, self.cut, self.chunked = True, "hash", True, None, False
        self.kind = "application/octet-stream"
        faults = server.faults.get(path, [])
        data = server.files.get(path)
        if faults and faults.pop(0)(self, data):
            return
        data = server.files.get(path)
        if data is None:
            self.send_error(404)
            return
        etag = f'"{hashlib.md5(data).hexdigest()}"' if self.etag == "hash" else self.etag
        date = formatdate(hashlib.md5(data).digest()[0] * 1e6, usegmt=True)
        start, status = 0, 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        unchanged = self.headers["If-Range"] in (None, etag, date)
        if self.ranges == "careless":  # honours Range whatever If-Range says
            unchanged = True
        if wanted and self.ranges and unchanged:
            start, status = int(wanted[1]), 206
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(status)
        self.send_header("Content-Type", self.kind)
        if etag:
            self.send_header("ETag", etag)
        if self.date:
            self.send_header("Last-Modified", date)
        stop = min(len(data), int(wanted[2]) + 1) if status == 206 and wanted[2] else len(data)
        body = data[start:stop]
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        if self.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif self.chunked is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.cut is not None:
            self.wfile.write(body[: self.cut])
            self.wfile.flush()
            self.hang_up()
            return
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running():
    """A server at work."""
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()


# Faults.


def cut(at):
    """Breaks off after so many bytes of the body."""

    def fault(handler, data):
        handler.cut = at

    return fault


def fail(status, **headers):
    """Answers with an error."""

    def fault(handler, data):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    return fault


def stall(at):
    """Falls silent after so many bytes of the body."""

    def fault(handler, data):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        handler.end_headers()
        handler.wfile.write(data[:at])
        handler.wfile.flush()
        handler.server.release.wait(20)
        handler.close_connection = True
        return True

    return fault


def manners(**changes):
    """Changes how the request is answered."""

    def fault(handler, data):
        vars(handler).update(changes)

    return fault


def change(path, data, then=None):
    """The file becomes another one before it is served."""

    def fault(handler, _):
        handler.server.files[path] = data
        return then and then(handler, data)

    return fault


def git_id(data):
    """The id that git gives a file's contents."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
