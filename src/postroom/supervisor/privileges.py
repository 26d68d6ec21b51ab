"""Privileges: a server that root starts serves as another user.

Owns the ids of the process. Root is needed to bind ports below 1024 and for nothing else, so
everything that is read, made or locked is so as the user from the beginning, with effective
ids; only while the sockets are bound the effective one is root's again. Then all ids become
the user's, which cannot be undone, and no program that is run may gain any.

Guarantees: 1. workers and companions never have root's ids.  2. What a reload will read could
be read at the start.  3. Without `server.user` a server of root's that strangers reach does
not start.
Called by: supervisor.serve, .master, cli.server.  Raises: ConfigurationError.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

import postroom
from postroom.config.addresses import is_loopback, split
from postroom.config.model import Config
from postroom.core.errors import ConfigurationError
from postroom.observe.owner import make_private

ROOT = "root"
_PR_SET_NO_NEW_PRIVS = 38


def warning_of(config: Config) -> str:
    """Return what a server of root's should hear that nobody but this machine reaches, or ""."""
    if os.geteuid() != 0 or config.server.user:
        return ""
    return 'the server runs as root; set server.user = "postroom", or another user without rights'


def assume(config: Config) -> bool:
    """Act as the user that `server.user` names; return whether that is another than before.

    Everything after it is to be loaded anew: what this user finds is what counts.
    """
    name = config.server.user
    if os.geteuid() != 0:
        _refuse_other(name)
        return False
    if not name:
        _refuse_strangers(config)
        return False
    user = _entry(name)
    if user.pw_uid == 0:
        return False
    os.initgroups(user.pw_name, user.pw_gid)
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    # Settings and programs (routes of type "pipe") look for the user's files, not for root's.
    for variable in [one for one in os.environ if one.startswith("XDG_")]:
        del os.environ[variable]
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    for program in (sys.executable, postroom.__file__):
        if not os.access(program, os.R_OK, effective_ids=True):
            text = f"server.user: {name} cannot read {program}; install Postroom where all can"
            raise ConfigurationError(text)
    return True


def prepare_directories(config: Config) -> None:
    """Have the spool and the event stream be the user's; both may lie in a directory of root's."""
    wanted = {"spool.base": config.spool.base}
    if config.events.is_kept:
        wanted["events.directory"] = config.events.directory
    for setting, text in wanted.items():
        path = Path(text)
        try:
            make_private(path)
        except PermissionError:
            _make_as_root(path, setting)
        owner = path.stat().st_uid
        if owner != os.geteuid():
            user = config.server.user
            told = f"{setting}: {path} belongs to {_name(owner)}, and the server runs as {user}"
            raise ConfigurationError(f"{told}; run: chown -R {user}: {path}")


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Be root for a moment, where `assume` left that possible."""
    if not _is_assumed():
        yield
        return
    user = os.geteuid()
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(user)


def drop() -> None:
    """Give up for good what `assume` only put aside."""
    if not _is_assumed():
        return
    user, group = os.geteuid(), os.getegid()
    os.seteuid(0)
    # As root these set the real and the saved ids as well; groups first, while we may.
    os.setgid(group)
    os.setuid(user)
    _forbid_gains()
    with contextlib.suppress(PermissionError):
        os.setuid(0)
    if 0 in (*os.getresuid(), *os.getresgid()):  # not an assertion: -O must not take it away
        raise ConfigurationError("server.user: root's rights could not be given up")


def _is_assumed() -> bool:
    return os.getuid() == 0 and os.geteuid() != 0


def _refuse_strangers(config: Config) -> None:
    addresses = [one for policy in config.listen for one in policy.address]
    for address in (*addresses, *config.console.address):
        host, _ = split(address, None)
        if not is_loopback(host):
            text = f"server.user: missing; strangers reach {address}, and the server would run as "
            text += 'root; expected a user without rights, such as "postroom" (or "root", if it '
            raise ConfigurationError(text + "must be)")


def _refuse_other(name: str) -> None:
    if name and _entry(name).pw_uid != os.geteuid():
        text = f"server.user: only root can become {name}; this is {_name(os.geteuid())}; "
        raise ConfigurationError(text + f"start it as root or as {name}, or leave it out")


def _entry(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        text = f"server.user: there is no user {name}; make one, such as: useradd --system {name}"
        raise ConfigurationError(text) from None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _make_as_root(path: Path, setting: str) -> None:
    user, group = os.geteuid(), os.getegid()
    with raised():
        try:
            place = path.parent.stat()
            if place.st_uid != 0 or place.st_mode & 0o022:
                text = f"{setting}: {path.parent} is not root's alone, and {_name(user)} may not "
                raise ConfigurationError(
                    text + f"write there; make {path} and give it to that user"
                )
            path.mkdir(mode=0o700)
            os.chown(path, user, group, follow_symlinks=False)
        except OSError as error:
            raise ConfigurationError(f"{setting}: {path}: {error.strerror or error}") from error


def _forbid_gains() -> None:
    """Have the kernel refuse more rights to every program that is run from here on (Linux)."""
    import ctypes

    control = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if control is not None:
        control(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
