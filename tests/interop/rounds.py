"""One round: all letters between Postroom and one peer, in one direction."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

import msgspec

from tests.interop.combination import Abilities, Combination
from tests.interop.judge import Mail, Verdict, our_fate
from tests.interop.letters import HOME, KINDS, TOKEN, Letter, letters_for
from tests.interop.peer import Fate, Peer, Places, permitted
from tests.interop.submitter import Submitter
from tests.support.certificate import make_certificate
from tests.support.daemon import Daemon
from tests.support.sink import SinkThread

_WITH = re.compile(rb"by test\.example with (\S+) id")
ARRIVAL_DEADLINE_S = 90.0
SESSION_MESSAGES = 50
QUIET_S = 0.3
"""How long nothing more may come after everything came: a second copy would."""

# A failure waits up to 10 s for others of its message; here every message has one recipient.
_CHANNEL = """
[route.{name}]
type = "relay"
relays = [{{ host = "127.0.0.1:{port}" }}]
[channel.{name}]
match = ["{domain}"]
route = "{name}"
"""


class Round(msgspec.Struct):
    """What one round found. `direction` is "receives" or "sends": what the peer does."""

    peer: str
    version: str
    direction: str
    abilities: Abilities
    combinations: list[Combination]
    verdict: Verdict
    not_sent: list[str]
    """Kinds that the peer does not take from anybody."""
    took_s: float = 0.0


def receives(
    peer: Peer, combinations: Sequence[Combination] = (), kinds: Sequence[str] = tuple(KINDS)
) -> Round:
    """Postroom relays to the peer, which keeps what it takes; what fails comes home."""
    began = time.monotonic()
    chosen = list(combinations) or permitted(peer, "receives")
    verdict = Verdict()
    letters = letters_for(chosen, kinds)
    with SinkThread() as home, peer.receiving(chosen) as receiver:
        config = "".join(
            _CHANNEL.format(name=one.name, port=receiver.ports[one], domain=one.domain)
            for one in chosen
        )
        config += _CHANNEL.format(name="home", port=home.port, domain=HOME)
        with Daemon(config=config, queues=1) as server:
            refusals = _submit(server.port, letters)

            def arrived() -> list[Mail]:
                return [Mail(octets) for octets in receiver.arrived()] + _reports(home)

            mail = _wait_for(len(letters) - len(refusals), arrived)
            _check_replies(server, letters, verdict)
            assert server.stop() == 0
        fates = {one.token: our_fate(one.kind, one.combination) for one in letters}
        verdict.judge(letters, mail, fates, refusals)
        for text in receiver.misused(chosen):
            verdict.differs("session", text)
        return Round(
            peer.name, peer.version, "receives", peer.receives, chosen, verdict, [],
            time.monotonic() - began,
        )  # fmt: skip


def sends(
    peer: Peer, combinations: Sequence[Combination] = (), kinds: Sequence[str] = tuple(KINDS)
) -> Round:
    """The peer relays to Postroom, which delivers to a sink; what the peer returns comes home."""
    began = time.monotonic()
    chosen = list(combinations) or permitted(peer, "sends")
    verdict = Verdict()
    with SinkThread() as home, SinkThread() as sink:
        daemon = Daemon(relay=sink.port, queues=1)
        certificate, key = make_certificate("test.example").save(daemon.base)
        daemon.write_config(
            f'[listen.smtp]\naddress = ["127.0.0.1:0"]\n'
            f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'
        )
        with daemon as server:
            places = Places(next_hop=server.port, home=home.port)
            with peer.relaying(chosen, places) as relay:
                submitter = Submitter(relay.port)
                letters = letters_for(chosen, kinds)
                taken = [one for one in letters if submitter.can_send(one)]
                submitter.close()
                refusals = _submit(relay.port, taken)

                def arrived() -> list[Mail]:
                    return [Mail(one.octets) for one in sink.messages] + _reports(home)

                mail = _wait_for(len(taken) - len(refusals), arrived)
            assert server.stop() == 0
            _check_sessions(mail, taken, verdict)
        fates = {one.token: peer.fate_of(one.kind, one.combination) for one in taken}
        verdict.judge(taken, mail, fates, refusals)
        kinds_taken = {one.kind for one in taken}
        return Round(
            peer.name, peer.version, "sends", peer.sends, chosen, verdict,
            [kind for kind in kinds if kind not in kinds_taken], time.monotonic() - began,
        )  # fmt: skip


def _submit(port: int, letters: Sequence[Letter]) -> dict[str, str]:
    """Hand letters over; return what was said about those that were refused."""
    refusals: dict[str, str] = {}
    # Apart, because Exim 4.96 takes what follows in a session for SMTPUTF8 as well.
    for smtputf8 in (False, True):
        some = [letter for letter in letters if letter.smtputf8 is smtputf8]
        # Some listeners take only so many messages in one session.
        for start in range(0, len(some), SESSION_MESSAGES):
            submitter = Submitter(port)
            for letter in some[start : start + SESSION_MESSAGES]:
                refusal = submitter.send(letter)
                if refusal is not None:
                    refusals[letter.token] = f"{refusal.code} {refusal.text}"
            submitter.close()
    return refusals


def _reports(home: SinkThread) -> list[Mail]:
    return [Mail(one.octets, is_report=True) for one in home.messages]


def _wait_for(count: int, arrived: Callable[[], list[Mail]]) -> list[Mail]:
    until = time.monotonic() + ARRIVAL_DEADLINE_S
    while len(mail := arrived()) < count and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(QUIET_S)
    return arrived() if len(mail) >= count else mail


def _check_replies(server: Daemon, letters: Sequence[Letter], verdict: Verdict) -> None:
    """Every letter that was taken has the peer's 250 in the log, and nothing was tried twice."""
    delivered = [e for e in server.events("delivered") if not e["recipient"].endswith(HOME)]
    due = sum(our_fate(one.kind, one.combination)[0] is Fate.DELIVERED for one in letters)
    if len(delivered) != due:
        verdict.differs("log", f"{len(delivered)} delivered, {due} were due")
    for event in delivered:
        if not event["reply"].startswith("250") or event["attempts"] != 1:
            verdict.differs(event["recipient"], f"delivered, but: {event}")
    for event in server.events("deferred"):
        verdict.differs(event["recipient"], f"deferred: {event['reply']}")


def _check_sessions(mail: Sequence[Mail], letters: Sequence[Letter], verdict: Verdict) -> None:
    """Our Received header says how mail came: with TLS where the combination has it."""
    by_token = {one.token: one for one in letters}
    for one in mail:
        found = TOKEN.search(one.octets)
        letter = by_token.get(found[1].decode()) if found else None
        if letter is None or one.is_report:
            continue
        said = _WITH.search(one.octets)
        word = said[1].decode() if said else "no word"
        wanted = "UTF8SMTP" if letter.smtputf8 else "ESMTP"
        wanted += "S" if "STARTTLS" in letter.combination else ""
        if word != wanted:
            verdict.differs(letter.token, f"came with {word}, {wanted} was due")
