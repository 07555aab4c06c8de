"""The common actions of the tool's parts: say, run a command, refuse with one sentence."""

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

RUN = Path("/run/baremetal-fleet")
STATE = Path(__file__).resolve().parents[2] / ".fleet"
HEADING = "\n$ "
TAIL_LINES = 15

T = TypeVar("T")
R = TypeVar("R")
_started = time.monotonic()


class FleetError(Exception):
    """Something the user has to know, said in one sentence."""


def say(message: str) -> None:
    """Print one line of progress with the elapsed seconds."""
    print(f"[{time.monotonic() - _started:3.0f} s] {message}", file=sys.stderr, flush=True)


def run(argv: Sequence[str], *, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """Run a short command and return what it printed; its complaint becomes the error."""
    result = subprocess.run(argv, input=stdin, capture_output=True, text=True, env=env, cwd="/", check=False)
    if result.returncode:
        words = " ".join(result.stderr.split()) or f"exit status {result.returncode}"
        raise FleetError(f"`{shlex.join(argv[:12])}` failed: {words}")
    return result.stdout


def run_logged(
    what: str, argv: Sequence[str], log: Path, *, stdin: str = "", env: dict[str, str] | None = None
) -> None:
    """Run a long command with its output in a log file, whose last lines are shown when it fails."""
    with open_log(log, argv) as out:
        result = subprocess.run(argv, input=stdin.encode(), stdout=out, stderr=out, env=env, cwd="/", check=False)
    if result.returncode:
        raise failure(what, log)


@contextlib.contextmanager
def open_log(log: Path, argv: Sequence[str]) -> Iterator[int]:
    """Open a log file at its end, with the command as a heading."""
    with log.open("ab") as out:
        out.write(f"{HEADING}{shlex.join(argv)}\n".encode())
        out.flush()
        yield out.fileno()


def failure(what: str, log: Path) -> FleetError:
    """Turn the log of a command that failed into an error."""
    tail = log.read_text(errors="replace").rpartition(HEADING)[2].splitlines()[1:][-TAIL_LINES:]
    return FleetError("\n".join([f"{what} failed, its whole output is in {log}; the last lines are:", *tail]))


def succeeds(argv: Sequence[str], *, env: dict[str, str] | None = None) -> bool:
    """Tell whether a command succeeds, silently."""
    null = subprocess.DEVNULL
    return subprocess.run(argv, stdin=null, stdout=null, stderr=null, env=env, cwd="/", check=False).returncode == 0


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call the function on all items at once and return the results in their order."""
    items = list(items)
    with ThreadPoolExecutor(max_workers=max(1, min(len(items), 8))) as pool:
        return list(pool.map(function, items))


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Keep other runs of the tool from doing the same thing at the same time."""
    directory = RUN / "lock"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: somebody is already at it, waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def state_directory(fleet: str) -> Path:
    """Make the directory in which a fleet keeps its key, its ssh configuration and its logs."""
    directory = STATE / fleet
    for level in (STATE, directory):
        level.mkdir(mode=0o700, exist_ok=True)
    return directory


def hand_over(*trees: Path) -> None:
    """Give files that were made under sudo to the user who called it."""
    if "SUDO_UID" in os.environ:
        for path in [path for tree in trees for path in (tree, *tree.rglob("*"))]:
            with contextlib.suppress(FileNotFoundError):
                os.chown(path, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]), follow_symlinks=False)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file, at once and only when its content differs."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
