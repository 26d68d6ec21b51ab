"""`postroom user-hash`: a line for the users file of `[listen.NAME] auth_users`.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import sys

from postroom.cli.output import OK, USAGE, fail


def user_hash(options: argparse.Namespace) -> int:
    """Ask for a password and print the line; the password is never an argument."""
    from getpass import getpass

    from postroom.ingress.users import make_user_line

    if sys.stdin.isatty():
        password = getpass("Password: ")
        if getpass("Again: ") != password:
            fail("the two passwords differ", code=USAGE)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        fail("no password", "type it, or give it on standard input", USAGE)
    try:
        print(make_user_line(options.name, password))
    except ValueError as error:
        fail(str(error), code=USAGE)
    return OK
