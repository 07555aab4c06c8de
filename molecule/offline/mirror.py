"""The mirror of the air-gapped hosts: repositories of what was downloaded, signed and served.

    mirror.py make|serve DIRECTORY

Written for the tests: a company has a mirror already, or makes one with reprepro, aptly, createrepo_c or the like.
"""

import functools
import hashlib
import http.server
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ADDRESS = ("10.89.82.1", 8082)
SECONDS = 1800
NGINX_UNIT = """\
[Unit]
Description=nginx - high performance web server
After=network-online.target

[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStart=/usr/sbin/nginx -c /etc/nginx/nginx.conf
ExecReload=/bin/sh -c "/bin/kill -s HUP $(/bin/cat /run/nginx.pid)"
ExecStop=/bin/sh -c "/bin/kill -s TERM $(/bin/cat /run/nginx.pid)"

[Install]
WantedBy=multi-user.target
"""
NGINX_CONF = """\
user nginx;
pid /run/nginx.pid;
events {}
http {
    include /etc/nginx/mime.types;
    include /etc/nginx/conf.d/*.conf;
}
"""
NGINX_WELCOME = """\
server {
    listen 80;
    location / { return 200 "Welcome to nginx!"; }
}
"""
NGINX_POSTINST = """\
#!/bin/sh
set -e
getent passwd nginx >/dev/null || useradd --system --user-group --no-create-home --shell /bin/false nginx
mkdir -p /var/log/nginx /var/cache/nginx
systemctl daemon-reload
systemctl start nginx
"""

Sign = Callable[..., None]


def run(*command: str | Path, **options: str | Path) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True, **options)
    return done.stdout


def write(path: Path, text: str) -> None:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make(root: Path) -> None:
    """Make all repositories, signed by a key that nobody has afterwards."""
    if missing := [program for program in ("gpg", "dpkg-deb") if not shutil.which(program)]:
        sys.exit(f"{' and '.join(missing)} is missing on this machine: apt-get install gpg dpkg")
    with tempfile.TemporaryDirectory() as home:
        gpg = functools.partial(run, "gpg", "--batch", "--yes", "--quiet", "--homedir", home, "--passphrase", "")
        gpg("--quick-generate-key", "mirror@example.com", "rsa2048", "default", "never")
        lines = gpg("--with-colons", "--fingerprint").splitlines()
        write(root / "fingerprint", next(line.split(":")[9] for line in lines if line.startswith("fpr")))
        write(root / "key.asc", gpg("--armor", "--export"))
        for family in ("Debian", "RedHat"):
            target = root / family
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            run("tar", "--extract", "--file", root / f"{family}.tar", "--directory", target)
        index(root / "Debian", root / "Debian", root / "Debian", gpg)
        listing = root / "RedHat" / "repodata" / "repomd.xml"
        gpg("--armor", "--detach-sign", "--output", f"{listing}.asc", listing)
        nginx_org(root, gpg)
        run("gpgconf", "--homedir", home, "--kill", "all")


def index(root: Path, packages: Path, release: Path, gpg: Sign) -> None:
    """Write the index of a directory of packages into a release of a repository, and sign that."""
    stanzas = []
    for deb in sorted(packages.glob("*.deb")):
        content = deb.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        place = f"Filename: {deb.relative_to(root)}\nSize: {len(content)}\nSHA256: {digest}\n"
        stanzas.append(run("dpkg-deb", "--field", deb) + place)
    listing = "\n".join(stanzas)
    architecture = run("dpkg", "--print-architecture").strip()
    name = "Packages" if root == release else f"nginx/binary-{architecture}/Packages"
    write(release / name, listing)
    encoded = listing.encode()
    digest = hashlib.sha256(encoded).hexdigest()
    write(
        release / "Release",
        f"Origin: mirror\nCodename: {release.name}\nComponents: nginx\nArchitectures: {architecture}\n"
        f"Date: {run('date', '-Ru').replace('+0000', 'UTC')}SHA256:\n {digest} {len(encoded)} {name}\n",
    )
    gpg("--clearsign", "--output", release / "InRelease", release / "Release")


def nginx_org(root: Path, gpg: Sign) -> None:
    """Make a repository in the layout of nginx.org's, with Debian's nginx in a package of nginx.org's layout."""
    repository = root / "nginx.org" / "debian"
    shutil.rmtree(repository, ignore_errors=True)
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        fields = {}
        for name in ("nginx-common", "nginx"):
            (deb,) = (root / "Debian").glob(f"{name}_*.deb")
            run("dpkg-deb", "--extract", deb, tree)
            fields = {field: run("dpkg-deb", "--field", deb, field).strip() for field in ("Architecture", "Depends")}
        needs = [word for word in fields["Depends"].split(", ") if not word.startswith(("nginx", "iproute"))]
        for path in ("nginx", "init.d", "default", "ufw", "logrotate.d"):
            kept = (tree / "etc/nginx/mime.types").read_text() if path == "nginx" else ""
            shutil.rmtree(tree / "etc" / path, ignore_errors=True)
            if kept:
                write(tree / "etc/nginx/mime.types", kept)
        write(tree / "etc/nginx/nginx.conf", NGINX_CONF)
        write(tree / "etc/nginx/conf.d/default.conf", NGINX_WELCOME)
        (unit,) = tree.glob("**/nginx.service")
        write(unit, NGINX_UNIT)
        configured = [f"/{path.relative_to(tree)}" for path in sorted((tree / "etc").rglob("*")) if path.is_file()]
        write(tree / "DEBIAN/conffiles", "\n".join([*configured, ""]))
        write(tree / "DEBIAN/postinst", NGINX_POSTINST)
        (tree / "DEBIAN/postinst").chmod(0o755)
        write(
            tree / "DEBIAN/control",
            f"Package: nginx\nVersion: 1.2.3-1~trixie\nArchitecture: {fields['Architecture']}\n"
            f"Depends: {', '.join(needs)}\nMaintainer: nobody <nobody@example.com>\nDescription: as nginx.org's\n",
        )
        packages = repository / "pool"
        packages.mkdir(parents=True)
        run("dpkg-deb", "--build", "--root-owner-group", tree, packages)
    index(repository, packages, repository / "dists" / "trixie", gpg)


def serve(root: Path) -> None:
    """Serve the directory to the fleet, for a limited time and as long as it says so."""
    mark, end = root / "served", time.monotonic() + SECONDS

    class Server(http.server.ThreadingHTTPServer):
        def service_actions(self) -> None:
            if not mark.exists() or time.monotonic() > end:
                sys.exit()

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with Server(ADDRESS, handler) as server:
        mark.touch()
        server.serve_forever()


if __name__ == "__main__":
    {"make": make, "serve": serve}[sys.argv[1]](Path(sys.argv[2]).resolve())
