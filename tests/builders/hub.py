"""A local stand-in for the Hugging Face hub: the few answers that its client needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" + "0" * 34
LARGE = 1 << 16
"""From this size on a file is kept as the hub keeps large ones: by SHA-256."""


def etag(content: bytes) -> str:
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def lfs(file: Path) -> dict[str, object]:
    """What the hub tells of a large file when it is asked for more than names."""
    content = file.read_bytes()
    if len(content) < LARGE:
        return {"size": len(content)}
    told = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
    return {"size": len(content), "lfs": told}


@contextmanager
def serve(repositories: dict[str, Path]) -> Iterator[str]:
    """Serve folders as repositories and yield the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            parts = unquote(urlparse(self.path).path).strip("/").split("/")
            if parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in repositories:
                folder = repositories["/".join(parts[2:4])]
                files = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
                found = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": files}
                self.send(200, json.dumps(found).encode(), {}, body=body)
            elif parts[:2] == ["api", "datasets"] and "/".join(parts[2:4]) in repositories:
                folder = repositories["/".join(parts[2:4])]
                files = [
                    {"rfilename": path.relative_to(folder).as_posix(), **lfs(path)}
                    for path in sorted(folder.rglob("*"))
                    if path.is_file()
                ]
                found = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": files}
                self.send(200, json.dumps(found).encode(), {}, body=body)
            elif parts[0] == "datasets" and parts[3:4] == ["resolve"]:
                file = repositories["/".join(parts[1:3])].joinpath(*parts[5:])
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(file.read_bytes())}"'}
                self.send(200, file.read_bytes(), headers, body=body)
            elif len(parts) == 5 and parts[2] == "resolve":
                file = repositories.get("/".join(parts[:2]), Path("none")) / parts[4]
                if not file.is_file():
                    self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)
                    return
                content = file.read_bytes()
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(content)}"'}
                self.send(200, content, headers, body=body)
            else:
                self.send(404, b"", {"X-Error-Code": "RepoNotFound"}, body=body)

        def send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
