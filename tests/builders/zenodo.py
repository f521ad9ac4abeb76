"""A local stand-in for Zenodo: files of records, their sums, ranges, and connections that break."""

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse


@dataclass
class Zenodo:
    """What is served and how.

    Attributes:
        records: Number of a record -> folder of its files.
        address: Of the server.
        breaks: Bytes after which the next answers break off.
        ranges: Whether ranges are understood.
        asked: "PATH RANGE" of every request, in order.
    """

    records: dict[str, Path]
    address: str = ""
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlparse(request.path).path)
        wanted = request.headers.get("Range") or ""
        self.asked.append(f"{path} {wanted}".strip())
        if match := re.fullmatch(r"/api/records/(\d+)", path):
            files = [
                {"key": f.name, "checksum": f"md5:{hashlib.md5(f.read_bytes()).hexdigest()}"}
                for f in sorted(self.records[match[1]].iterdir())
            ]
            self.send(request, 200, json.dumps({"files": files}).encode())
        elif (match := re.fullmatch(r"/records/(\d+)/files/([^/]+)", path)) and (
            file := self.records[match[1]] / match[2]
        ).is_file():
            start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.ranges else 0
            content = file.read_bytes()
            if start and start >= len(content):
                self.send(request, 416, b"")
            else:
                self.send(request, 206 if start else 200, content[start:])
        else:
            self.send(request, 404, b"")

    def send(self, request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: self.breaks.pop(0)] if self.breaks else content)
        request.close_connection = True


@contextmanager
def serve_zenodo(**records: Path) -> Iterator[Zenodo]:
    """Serve folders as records (`r123=folder`)."""
    served = Zenodo({number.removeprefix("r"): folder for number, folder in records.items()})

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            served.answer(self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pack(folder: Path, archive: Path) -> Path:
    """Pack a folder into a zip archive, with its own name on top, as the publishers do."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    packed = shutil.make_archive(str(archive.with_suffix("")), "zip", folder.parent, folder.name)
    return Path(packed)
