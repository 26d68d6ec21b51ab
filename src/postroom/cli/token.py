"""`postroom token …`: who may use the HTTP API and the web pages.

Called by: cli.main.  Raises: CommandFailed.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

import msgspec

from postroom.cli.output import FINDING, OK, USAGE, fail, print_json, print_table, warn
from postroom.cli.reach import Spool
from postroom.control.ownership import act_as_owner
from postroom.control.tokens import Role, Token, TokenError, Tokens
from postroom.core.clock import SystemClock
from postroom.core.units import format_duration, parse_duration


def create(options: argparse.Namespace) -> int:
    """`token create`: print it, for this once."""
    try:
        lasts_s = parse_duration(options.expires) if options.expires else 0.0
        if options.expires and lasts_s <= 0:
            raise ValueError(f"{options.expires}: expected a time to come")
    except ValueError as error:
        fail(f"--expires {error}", "--expires 90d", USAGE)
    spool = Spool(options)
    _know_tenant(spool, options.tenant)
    tokens = _open(spool)
    try:
        text, token = tokens.create(
            options.name, Role(options.role), lasts_s=lasts_s,
            senders=tuple(options.sender_domain or ()), tenant=options.tenant,
        )  # fmt: skip
    except TokenError as error:
        fail(str(error), "see those there are: postroom token list", USAGE)
    finally:
        tokens.close()
    if options.json:
        print_json({**msgspec.structs.asdict(token), "token": text})
        return OK
    print(text)
    # On standard error, so that the token alone can be piped into a file.
    print("It is shown this once: keep it where only its user can read it.", file=sys.stderr)
    if not spool.configuration().console.address:
        warn('there is no console yet: [console] address = "127.0.0.1:8025", and a restart')
    return OK


def listing(options: argparse.Namespace) -> int:
    """`token list`."""
    tokens = _open(Spool(options))
    try:
        known = tokens.list()
    finally:
        tokens.close()
    if options.json:
        for one in known:
            print_json(one)
    elif not known:
        print("no tokens; make one: postroom token create NAME --role viewer")
    else:
        now = SystemClock().now()
        heads = ("NAME", "ROLE", "ID", "MADE", "EXPIRES", "LAST USED", "MAY SEND FROM")
        print_table(heads, [_row(one, now) for one in known])
    return OK


def _row(one: Token, now: float) -> tuple[str, ...]:
    left = f"in {format_duration(one.expires_at - now)}" if one.expires_at else "never"
    used = f"{format_duration(max(1.0, now - one.used_at))} ago" if one.used_at else "never"
    made = datetime.fromtimestamp(one.created_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    sends = " ".join((*one.senders, *([f"tenant {one.tenant}"] if one.tenant else [])))
    return (one.name, one.role.value, one.id, made, left, used, sends)


def revoke(options: argparse.Namespace) -> int:
    """`token revoke`: it is not valid any more from the next request on."""
    tokens = _open(Spool(options))
    try:
        was_there = tokens.revoke(options.name)
    finally:
        tokens.close()
    if options.json:
        print_json({"name": options.name, "revoked": was_there})
    elif was_there:
        print(f"token {options.name} is revoked, with every session that began with it")
    if not was_there:
        fail(f"there is no token {options.name}", "see them: postroom token list")
    return OK if was_there else FINDING


def _open(spool: Spool) -> Tokens:
    act_as_owner(spool.base)
    try:
        return Tokens(spool.base, SystemClock())
    except TokenError as error:
        fail(str(error), "run this as the server's user")


def _know_tenant(spool: Spool, name: str) -> None:
    if not name:
        return
    known = [one.name for one in spool.configuration().tenants]
    if name not in known:
        fail(f"there is no tenant {name!r}", f"there are: {', '.join(known) or 'none'}", USAGE)
