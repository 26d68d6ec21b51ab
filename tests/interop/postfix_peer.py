"""Postfix, installed on this machine: private instances of it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.interop.combination import EXTENSIONS, Can, Combination
from tests.interop.letters import HOME
from tests.interop.peer import PEER_HOST, Fate, Places, maildir, ports_for
from tests.support.certificate import make_certificate
from tests.support.debian_package import Missing
from tests.support.postfix import Postfix, missing, program, reachable_directory

_NEEDS_UTF8 = {"utf8-address": "5.6.7", "utf8-header": "5.6.7"}
_SESSION = re.compile(r"postfix/(c\d\d)/smtpd\[\d+\]: disconnect from .*")


class _Receiver:
    def __init__(self, postfix: Postfix, ports: Mapping[Combination, int]) -> None:
        self.ports = ports
        self._postfix = postfix

    def arrived(self) -> list[bytes]:
        return maildir(self._postfix.mailbox)

    def misused(self, combinations: Sequence[Combination]) -> list[str]:
        """Hold what each smtpd counted against what it offered."""
        lines = self._postfix.log.read_text("utf-8", "replace")
        wrong = []
        for one in combinations:
            said = " ".join(found[0] for found in _SESSION.finditer(lines) if found[1] == one.name)
            if not said:
                wrong.append(f"{one}: no session in Postfix's log")
            # We send by BDAT where envelope and content go together.
            if (" bdat=" in said) != ({"CHUNKING", "PIPELINING"} <= one):
                wrong.append(f"{one}: BDAT {'used' if ' bdat=' in said else 'not used'}")
            if (" starttls=" in said) != ("STARTTLS" in one):
                wrong.append(f"{one}: STARTTLS {'used' if ' starttls=' in said else 'not used'}")
        return wrong


class _Relay:
    def __init__(self, port: int) -> None:
        self.port = port


class PostfixPeer:
    """Postfix with one smtpd, or one smtp transport, for each combination."""

    name = "Postfix"
    receives = dict.fromkeys(EXTENSIONS, Can.SWITCHED)
    sends = {**dict.fromkeys(EXTENSIONS, Can.SWITCHED), "CHUNKING": Can.NEVER}
    needs: Mapping[str, str] = {}
    why = {"sends CHUNKING": "its client knows no BDAT"}

    version = ""

    @contextlib.contextmanager
    def receiving(self, combinations: Sequence[Combination]) -> Iterator[_Receiver]:
        """One smtpd for each, all into one maildir."""
        ports = ports_for(combinations)
        services = "".join(
            f"127.0.0.1:{ports[one]} inet n - n - - smtpd\n"
            f"  -o syslog_name=postfix/{one.name}\n"
            f"  -o smtpd_discard_ehlo_keywords={_discarded(one)}\n"
            for one in combinations
        )
        owner = pwd.getpwnam("nobody")
        with self._base() as base:
            certificate, key = make_certificate(PEER_HOST).save(base)
            settings = {
                "virtual_mailbox_domains": "static:all",
                "virtual_mailbox_base": str(base / "mail"),
                "virtual_mailbox_maps": "static:box/",
                "virtual_uid_maps": f"static:{owner.pw_uid}",
                "virtual_gid_maps": f"static:{owner.pw_gid}",
                "smtpd_tls_security_level": "may",
                "smtpd_tls_cert_file": str(certificate),
                "smtpd_tls_key_file": str(key),
            }
            postfix = self._instance(base, settings, services)
            (base / "mail").mkdir()
            os.chown(base / "mail", owner.pw_uid, owner.pw_gid)
            postfix.start()
            try:
                yield _Receiver(postfix, ports)
            finally:
                postfix.stop()

    @contextlib.contextmanager
    def relaying(self, combinations: Sequence[Combination], places: Places) -> Iterator[_Relay]:
        """One smtp transport for each."""
        services = "".join(
            f"{one.name} unix - - n - - smtp\n"
            f"  -o smtp_discard_ehlo_keywords={_discarded(one)}\n"
            f"  -o smtp_tls_security_level={'encrypt' if 'STARTTLS' in one else 'none'}\n"
            for one in combinations
        )
        with self._base() as base:
            transports = base / "transports"
            lines = [
                f"{one.domain} {one.name}:[127.0.0.1]:{places.next_hop}\n" for one in combinations
            ]
            lines.append(f"{HOME} smtp:[127.0.0.1]:{places.home}\n")
            transports.write_text("".join(lines))
            settings = {
                "transport_maps": f"texthash:{transports}",
                # Postfix asks for SMTPUTF8 when it greets; on a session from its cache mail
                # with a UTF-8 header goes without, so what is due would hang on the load.
                "smtp_connection_cache_on_demand": "no",
            }
            postfix = self._instance(base, settings, services)
            postfix.start()
            try:
                yield _Relay(postfix.port)
            finally:
                postfix.stop()

    def fate_of(self, kind: str, combination: Combination) -> tuple[Fate, str]:
        """Return it: Postfix converts 8-bit bodies, and returns what needs SMTPUTF8."""
        if kind in _NEEDS_UTF8 and "SMTPUTF8" not in combination:
            return Fate.RETURNED, _NEEDS_UTF8[kind]
        if kind in ("eight-bit", "eight-undeclared", "large-eight-bit", "utf8-header"):
            # It takes SMTPUTF8 as a promise of 8BITMIME (RFC 6531 §3.1).
            is_kept = not combination.isdisjoint(("8BITMIME", "SMTPUTF8"))
            return (Fate.DELIVERED if is_kept else Fate.CONVERTED), ""
        return Fate.DELIVERED, ""

    @contextlib.contextmanager
    def _base(self) -> Iterator[Path]:
        if missing():
            raise Missing(missing())
        command = [program("postconf") or "postconf", "-dh", "mail_version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        self.version = said.stdout.strip()
        with reachable_directory(None) as base:
            yield base

    def _instance(self, base: Path, settings: dict[str, str], services: str) -> Postfix:
        settings = {
            "myhostname": PEER_HOST,
            "maillog_file": str(base / "log" / "maillog"),
            "maillog_file_prefixes": str(base),
            "smtputf8_enable": "yes",
            "default_process_limit": "20",
            **settings,
        }
        return Postfix(base, settings, services)


def _discarded(combination: Combination) -> str:
    return ",".join(name.lower() for name in EXTENSIONS if name not in combination)
