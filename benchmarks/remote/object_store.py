"""A loopback object store for the benchmarks: files of a folder by GET and HEAD, whole or a range of bytes, as S3 and
plain HTTP servers give them, each request after a wait.

What it has done so far it says at ``/counts``. Not for: writing, listing, credentials (any are accepted).
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import os
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_done = {"requests": 0, "bytes": 0}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, folder: Path, wait: float) -> None:
    """Answer the requests of one connection."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, BrokenPipeError):
        while line := await reader.readline():
            method, target, _ = line.decode("latin-1").split(" ", 2)
            asked = None
            while (header := await reader.readline()).strip():
                name, _, value = header.decode("latin-1").partition(":")
                if name.lower() == "range":
                    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", value.strip())
            if target == "/counts":
                said = json.dumps([*_done.values(), time.process_time()]).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
                await writer.drain()
                continue
            _done["requests"] += 1
            if wait:
                await asyncio.sleep(wait)
            path = folder / urllib.parse.unquote(target.partition("?")[0]).lstrip("/")
            if not path.is_file():
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                continue
            stat = path.stat()
            start, stop, status = 0, stat.st_size, "200 OK"
            if asked:
                start, status = int(asked[1]), "206 Partial Content"
                stop = min(stop, int(asked[2]) + 1) if asked[2] else stop
            lines = [
                f"HTTP/1.1 {status}",
                f"Content-Length: {stop - start}",
                "Accept-Ranges: bytes",
                "Content-Type: binary/octet-stream",
                f'ETag: "{stat.st_mtime_ns:x}-{stat.st_size:x}"',
                f"Last-Modified: {email.utils.formatdate(stat.st_mtime, usegmt=True)}",
            ]
            if asked:
                lines.append(f"Content-Range: bytes {start}-{stop - 1}/{stat.st_size}")
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            await writer.drain()
            if method != "HEAD" and stop > start:
                _done["bytes"] += stop - start
                with open(path, "rb") as file:
                    await asyncio.get_running_loop().sendfile(writer.transport, file, start, stop - start)
    writer.close()


@contextlib.contextmanager
def running(folder: Path, *, wait: float = 0.0) -> Iterator[str]:
    """The URL of a store of ``folder``, served by a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import object_store; object_store.main()"
    command = [sys.executable, "-c", code, os.fspath(folder), str(wait)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def counts(url: str) -> tuple[float, float, float]:
    """What the store at ``url`` has done so far: requests, bytes of objects, seconds of processor time."""
    with urllib.request.urlopen(f"{url}/counts") as answer:
        requests, sent, seconds = json.load(answer)
    return requests, sent, seconds


def main() -> None:
    """Serve the folder of the first argument, each request after the seconds of the second; print the port."""
    folder, wait = Path(sys.argv[1]), float(sys.argv[2])

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer, folder, wait)

    async def work() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(work())
