"""A name server for tests: real UDP and TCP on loopback, played from a table.

Zones map a name to records of each kind, as text:

    {"example.org": {"MX": ["10 mx1.example.org"], "A": ["192.0.2.1"]},
     "alias.example": {"CNAME": ["example.org"]}}

A name that is not in the table does not exist. `behaviour` maps a name to "servfail",
"refused", "silent" (never an answer) or "bare-cname" (the alias without what it leads to);
`truncated` names get a truncated answer over UDP and the whole over TCP.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zones = Mapping[str, Mapping[str, list[str]]]
_SOA = "ns.test. admin.test. 1 3600 600 86400"
_CHAIN_MAX = 8


class DnsServer:
    """Use as `async with DnsServer(zones) as server:`; `server.address` is "host:port"."""

    def __init__(
        self,
        zones: Zones,
        behaviour: Mapping[str, str] | None = None,
        truncated: tuple[str, ...] = (),
        ttl_s: int = 300,
        negative_ttl_s: int = 60,
    ) -> None:
        self.zones = {name.lower(): records for name, records in zones.items()}
        self.behaviour = dict(behaviour or {})
        self.truncated = truncated
        self.ttl_s = ttl_s
        self.negative_ttl_s = negative_ttl_s
        self.asked: Counter[tuple[str, str]] = Counter()
        self.asked_over_tcp = 0
        self.under_way_max = 0
        self.address = ""

    async def __aenter__(self) -> DnsServer:
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve_tcp, "127.0.0.1", 0)
        port = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Udp(self), local_addr=("127.0.0.1", port)
        )
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._udp.close()
        self._tcp.close()
        await self._tcp.wait_closed()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(2), "big")
            wire = self.answer(await reader.readexactly(length), over_tcp=True)
            if wire is not None:
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, wire: bytes, over_tcp: bool = False) -> bytes | None:
        """Return the answer to one question, or None for silence."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, kind] += 1
        self.asked_over_tcp += over_tcp
        behaviour = self.behaviour.get(f"{name}/{kind}", self.behaviour.get(name))
        if behaviour == "silent":
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if behaviour in ("servfail", "refused"):
            reply.set_rcode(dns.rcode.from_text(behaviour.upper()))
            return reply.to_wire(max_size=65535)
        if name in self.truncated and not over_tcp:
            reply.flags |= dns.flags.TC
            return reply.to_wire(max_size=65535)
        self._fill(reply, name, kind, bare=behaviour == "bare-cname")
        return reply.to_wire(max_size=65535)

    def _fill(self, reply: dns.message.Message, name: str, kind: str, *, bare: bool) -> None:
        for _ in range(_CHAIN_MAX):
            records = self.zones.get(name)
            if records is None:
                reply.set_rcode(dns.rcode.NXDOMAIN)
                break
            alias = records.get("CNAME")
            if alias is None:
                if records.get(kind):
                    reply.answer.append(
                        dns.rrset.from_text_list(
                            dns.name.from_text(name), self.ttl_s, "IN", kind,
                            [text if kind != "MX" or text.endswith(".") else text + "."
                             for text in records[kind]],
                        )
                    )  # fmt: skip
                    return
                break
            reply.answer.append(
                dns.rrset.from_text(
                    dns.name.from_text(name), self.ttl_s, "IN", "CNAME", alias[0] + "."
                )
            )
            if bare:
                return
            name = alias[0].lower()
        reply.authority.append(
            dns.rrset.from_text(".", self.negative_ttl_s, "IN", "SOA",
                                f"{_SOA} {self.negative_ttl_s}")
        )  # fmt: skip


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        wire = self._server.answer(data)
        if wire is not None:
            self._transport.sendto(wire, addr)
