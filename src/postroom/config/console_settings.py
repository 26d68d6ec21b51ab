"""Settings of the console, and what must hold of them.

Called by: config.settings, config.build, config.checks.  Raises: nothing; mistakes are gathered.
"""

from __future__ import annotations

from postroom.config.addresses import Address, Hostname, is_loopback
from postroom.config.console import ConsolePolicy
from postroom.config.given import Gathered, Name
from postroom.config.kinds import Boolean, FilePath, ListOf
from postroom.config.measures import Size
from postroom.config.model import Config
from postroom.config.setting import Setting, Table

KIB, GIB = 1 << 10, 1 << 30

CONSOLE = Table(
    "console",
    "The HTTP API and the web pages, served by a process of their own. It is off unless `address` "
    "is set: a port that nobody asked for is one more to guard. Whoever comes in needs a token "
    "(`postroom token create`).",
    ConsolePolicy,
    (
        Setting(
            "address", ListOf(Address(literal=True, port_least=0), most=64), "address",
            "Where it listens. Away from loopback it needs `tls_certificate`, or `behind_proxy`.",
            '["127.0.0.1:8025"]', default="none: there is no console", restart=True,
        ),
        Setting(
            "hosts", ListOf(Hostname(), most=64), "hosts",
            "Names by which it is asked for, beside its addresses and `localhost`. A request for "
            "any other name is refused, so that no web page can reach it by a name of its own "
            "(DNS rebinding).", '["mail.example.org"]', default="none", restart=True,
        ),
        Setting(
            "tls_certificate", FilePath(), "tls_certificate",
            "Certificate chain (PEM): it then speaks HTTPS.",
            '"/etc/postroom/tls/fullchain.pem"', default="none", restart=True,
        ),
        Setting(
            "tls_key", FilePath(), "tls_key",
            "The certificate's private key (PEM, not encrypted).",
            '"/etc/postroom/tls/key.pem"', default="none", restart=True,
        ),
        Setting(
            "behind_proxy", Boolean(), "behind_proxy",
            "All requests come through a proxy that does the TLS: cookies are for HTTPS alone, and "
            "the last address of its `X-Forwarded-For` is taken for the client's.", "true",
            restart=True,
        ),
        Setting(
            "size_limit", Size(64 * KIB, 2 * GIB), "size_limit_octets",
            "The largest body of a request. Attachments in JSON need four thirds of their size.",
            '"64 MiB"', restart=True,
        ),
    ),
)  # fmt: skip


def check_console(config: Config, gathered: Gathered) -> None:
    """Note what cannot be, and what is not safe."""
    console = config.console

    def mistake(setting: str, text: str) -> None:
        name = Name("console", "", setting)
        gathered.mistakes.add(gathered.where(name), name, text)

    if bool(console.tls_certificate) != bool(console.tls_key):
        missing = "tls_key" if console.tls_certificate else "tls_certificate"
        other = "tls_certificate" if console.tls_certificate else "tls_key"
        mistake(other, f"given without {missing}; expected both or none")
    taken = {address: one.name for one in config.listen for address in one.address}
    for address in console.address:
        if address in taken and not address.endswith(":0"):
            mistake("address", f"{address} is taken by listen.{taken[address]}; expected another")
        far = not is_loopback(address.rpartition(":")[0].strip("[]"))
        if far and not console.tls_certificate and not console.behind_proxy:
            text = f"{address} is no loopback address, and tokens would cross the network in the "
            text += "clear; expected tls_certificate and tls_key, or behind_proxy = true where a "
            mistake("address", text + "proxy in front does the TLS")
