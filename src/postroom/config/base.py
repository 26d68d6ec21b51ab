"""Where the spool is, for commands that need to know nothing else.

Reads the same sources in the same order as config.loader, and no more of them than
`spool.base`: the table of all settings takes longer to import than a listing takes. What is
not a plain absolute path, or not as expected in any other way, is left to the loader.

Guarantees: what is returned is what the loader would say.
Called by: cli.reach, client.queues.  Raises: nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from postroom.config.files import default_base, find_file, read_text
from postroom.core.errors import ConfigurationError

_PATH_CHARACTERS_MAX = 1000


def find_base(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]
) -> str | None:
    """Return `spool.base`, or None where only the whole configuration can tell.

    The arguments are those of `config.loader.load`.
    """
    if any(name != "spool.base" for name in overrides):
        return None
    for given in (
        overrides.get("spool.base"),
        environ.get("POSTROOM_SPOOL_BASE") or environ.get("QUEUE_BASE") or None,
    ):
        if given is not None:
            return _plain(given)
    try:
        path = path if path is not None else find_file(environ)
        if path is None:
            return _plain(default_base(environ))
        document = tomllib.loads(read_text(path))
    except (ConfigurationError, ValueError, RecursionError, OverflowError):
        return None
    # A file that does not name it may do so with a typing error, which the loader finds.
    table = document.get("spool")
    return _plain(table.get("base")) if isinstance(table, dict) else None


def _plain(given: object) -> str | None:
    if not isinstance(given, str) or len(given) > _PATH_CHARACTERS_MAX:
        return None
    return str(Path(given)) if given.startswith("/") and given.isprintable() else None
