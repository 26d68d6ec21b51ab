"""A policy file becomes functions.

The file is code that runs in every worker, so it must belong to the server's user or root, and
nobody else may be able to write to it or to a directory above it.

Called by: hooks.runner, config.  Raises: PolicyError that names file, line and remedy.
"""

from __future__ import annotations

import inspect
import os
import stat
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postroom.core.errors import PostroomError

HOOKS = {"on_connect": 1, "on_recipient": 3, "on_message": 1, "route": 1}
"""The functions that may be there, and how many arguments they take."""
FILE_OCTETS_MAX = 4 * 1024 * 1024

Functions = dict[str, Callable[..., Any]]


class PolicyError(PostroomError):
    """A policy file cannot be used."""


def load(path: Path) -> Functions:
    """Run a policy file and return its hooks, by name."""
    source = _read(path)
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise PolicyError(f"{path}:{line}: {error.args[0]}") from error
    names: dict[str, Any] = {"__name__": "postroom_policy", "__file__": str(path)}
    try:
        # The operator's own code, from a file that only the operator can write (_read).
        exec(code, names)  # noqa: S102
    except Exception as error:
        raise PolicyError(f"{path}:{line_of(error, path)}: {describe(error)}") from error
    found: Functions = {}
    for name, count in HOOKS.items():
        function = names.get(name)
        if function is None:
            continue
        if not inspect.isfunction(function):
            raise PolicyError(f"{path}: {name} is no function; write def {name}(...)")
        line = function.__code__.co_firstlineno
        if inspect.iscoroutinefunction(function):
            raise PolicyError(f"{path}:{line}: {name} is async; a hook answers at once: use def")
        try:
            inspect.signature(function).bind(*range(count))
        except TypeError as error:
            raise PolicyError(
                f"{path}:{line}: {name} must take {count} argument{'s' if count > 1 else ''}"
            ) from error
        found[name] = function
    if not found:
        raise PolicyError(f"{path}: none of {', '.join(HOOKS)} is defined")
    return found


def line_of(error: BaseException, path: Path) -> int:
    """Return the line of a policy file in which an exception arose, 0 where it is unknown."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return lines[-1] or 0 if lines else 0


def describe(error: BaseException) -> str:
    """Return an exception in one line; its text may hold addresses, and no more than that."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")[:200]


def _read(path: Path) -> bytes:
    try:
        for component in (path.resolve(), *path.resolve().parents):
            facts = component.stat()
            others = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            sticky = facts.st_mode & stat.S_ISVTX and component != path.resolve()
            if (others and not sticky) or facts.st_uid not in (0, os.geteuid()):
                raise PolicyError(
                    f"{component} may be written to by group or others, or is another user's, "
                    "and what is in it would be run; chmod go-w, chown"
                )
        octets = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror or error}") from error
    if len(octets) > FILE_OCTETS_MAX:
        raise PolicyError(f"{path} is too long")
    return octets
