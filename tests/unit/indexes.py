"""Package indexes and a proxy with a login for the tests: small, and real enough for the real pip and uv."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.client
import io
import select
import socket
import ssl
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "pypi.internal.example"  # has no address anywhere, so only a proxy gets there


def add_wheel(directory: Path, name: str, version: str = "1.0") -> Path:
    """Write a wheel whose module has ANSWER = 42 in its version 1.0."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    wheel = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"ANSWER = {42 if version == '1.0' else 0}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", wheel)
        archive.writestr(f"{about}/RECORD", "")
    return path


def add_source(directory: Path, name: str, backend: str, version: str = "1.0") -> Path:
    """Write a source distribution that is its own build backend, which needs no other package."""
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
    }
    path = directory / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


class Quiet(BaseHTTPRequestHandler):
    """Answers whole, and writes no log."""

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


class Index:
    """A package index of a directory, by HTTP or HTTPS; it notes what was asked."""

    def __init__(self, directory: Path, certificate: tuple[Path, Path] | None = None):
        self.directory = directory
        self.asked: list[tuple[str, str]] = []
        index = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                index.asked.append((self.path, self.headers.get("Authorization", "")))
                kind, _, name = self.path.strip("/").partition("/")
                if kind == "files" and (directory / name).is_file():
                    return self.send(200, "application/octet-stream", (directory / name).read_bytes())
                files = sorted(file for file in directory.iterdir() if file.name.startswith(f"{name}-"))
                if kind != "simple" or not files:
                    return self.send(404, "text/plain", b"")
                links = (
                    f'<a href="/files/{file.name}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">'
                    f"{file.name}</a>\n"
                    for file in files
                )
                return self.send(
                    200, "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
                )

            do_HEAD = do_GET

        self.server = serve(Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def url(self, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}/simple/"


class Proxy:
    """A proxy that wants a login, tunnels and forwards to this machine alone, whatever the name, and notes both."""

    def __init__(self, user: str, password: str):
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.tunnels: list[str] = []
        self.forwarded: list[str] = []
        self.refused = 0
        proxy = self

        class Handler(Quiet):
            def _may(self) -> bool:
                if self.headers.get("Proxy-Authorization") == proxy.wanted:
                    return True
                proxy.refused += 1
                self.send_response(407, "Proxy Authentication Required")
                self.send_header("Proxy-Authenticate", 'Basic realm="tests"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def do_CONNECT(self) -> None:
                if not self._may():
                    return
                proxy.tunnels.append(self.path)
                with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as there:
                    self.send_response(200)
                    self.end_headers()
                    ends = {self.connection: there, there: self.connection}
                    while ready := select.select(list(ends), [], [], 10)[0]:
                        for end in ready:
                            if not (data := end.recv(65536)):
                                self.close_connection = True
                                return
                            ends[end].sendall(data)

            def do_GET(self) -> None:
                if not self._may():
                    return
                proxy.forwarded.append(self.path)
                place, _, path = self.path.removeprefix("http://").partition("/")
                there = http.client.HTTPConnection("127.0.0.1", int(place.rpartition(":")[2]), timeout=60)
                there.request(self.command, f"/{path}")
                answer = there.getresponse()
                body = answer.read()
                self.send(answer.status, answer.headers["Content-Type"], body)

            do_HEAD = do_GET

        self.server = serve(Handler)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"


def serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for NAME, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths
