"""TLS of one session, between the transport's octets and the protocol's.

The session keeps its transport and passes octets through here. That way a handshake needs
no task, implicit TLS works behind a PROXY header that came in the same segment as the
ClientHello, and what follows STARTTLS in the clear cannot reach the session.

Called by: ingress.session, ingress.settings.  Raises: ssl.SSLError from `receive`;
ConfigurationError from `server_context`.
RFCs: RFC 3207 §4, RFC 8314 §3.3, RFC 8996 §2, RFC 9325 §4.
"""

from __future__ import annotations

import ssl

from postroom.core.errors import ConfigurationError

_READ_OCTETS = 65_536
# RFC 9325 §4.1 and §4.2: forward secrecy, and nothing that is broken. The last two are for mail
# programs that know no AEAD cipher. TLS 1.3 has its own list, all of which are good.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES256:ECDHE+AES128:!aNULL"


class TlsChannel:
    """The server's end of one TLS connection."""

    __slots__ = ("_incoming", "_object", "_outgoing", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False

    @property
    def version(self) -> str:
        """The protocol version once established, such as "TLSv1.3"."""
        return self._object.version() or ""

    def receive(self, data: bytes) -> bytes:
        """Take octets from the network; return what they hold for the session."""
        self._incoming.write(data)
        pieces = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(_READ_OCTETS):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Encrypt octets of the session."""
        self._object.write(data)

    def end(self) -> None:
        """Say that nothing more follows."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # Our close_notify is written; the client's need not be waited for.
            pass

    def take_output(self) -> bytes:
        """Return octets for the network."""
        return self._outgoing.read()


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return a context with this certificate chain and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 8996 §2: nothing below TLS 1.2.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"tls_certificate {certificate!r}, tls_key {key!r}: cannot be used: {error}"
        ) from None
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise ssl.SSLError("the key is encrypted; a key without a password is expected")
