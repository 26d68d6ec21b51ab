"""`make interop`: mail between Postroom and other mail systems, both ways, octet for octet."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.interop import report
from tests.interop.aiosmtpd_peer import AiosmtpdPeer
from tests.interop.exim_peer import EximPeer
from tests.interop.letters import KINDS
from tests.interop.opensmtpd_peer import OpenSmtpdPeer
from tests.interop.peer import Peer
from tests.interop.postfix_peer import PostfixPeer
from tests.interop.rounds import Round, receives, sends
from tests.support.debian_package import Missing

_DIRECTIONS = {"receives": receives, "sends": sends}
_SHOWN_MAX = 40


def main() -> int:
    """Run the rounds asked for; 1 where something differs, 2 where a peer is missing."""
    peers: dict[str, Peer] = {
        peer.name: peer for peer in (PostfixPeer(), EximPeer(), OpenSmtpdPeer(), AiosmtpdPeer())
    }
    parser = argparse.ArgumentParser(prog="make interop", description=__doc__)
    parser.add_argument(
        "--peer", action="append", choices=[name.lower() for name in peers], help="only this one"
    )
    parser.add_argument(
        "--direction", choices=list(_DIRECTIONS), help="only what peers receive, or send"
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this letter")
    parser.add_argument(
        "--write", action="store_true", help="write the tables into docs/interoperability.md"
    )
    options = parser.parse_args()
    if options.write and (options.peer or options.direction or options.kind):
        parser.error("--write needs a whole run: leave out --peer, --direction and --kind")
    # Asked to stop, it stops the peers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [
        peer for name, peer in peers.items() if not options.peer or name.lower() in options.peer
    ]
    rounds, missing = [], []
    for peer in chosen:
        try:
            for direction, run in _DIRECTIONS.items():
                if options.direction in (None, direction):
                    one = run(peer, kinds=options.kind or tuple(KINDS))
                    _tell(one)
                    rounds.append(one)
        except Missing as error:
            missing.append(f"{peer.name}: {error}")
    text = report.tables(rounds, peers)
    print(f"\n{text}")
    for line in missing:
        print(f"not run: {line}", file=sys.stderr)
    if any(one.verdict.differences for one in rounds):
        return 1
    if missing:
        return 2
    if options.write:
        report.write(text)
        print(f"\nwritten: {report.PAGE}")
    return 0


def _tell(one: Round) -> None:
    print(
        f"{one.peer} {one.version} {one.direction}: {one.verdict.sent} messages, "
        f"{len(one.combinations)} combinations, {len(one.verdict.differences)} differences, "
        f"{one.took_s:.0f} s",
        flush=True,
    )
    for difference in one.verdict.differences[:_SHOWN_MAX]:
        print(f"  {difference}")


if __name__ == "__main__":
    sys.exit(main())
