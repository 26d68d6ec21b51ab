"""Addresses and parameters of MAIL and RCPT, xtext, host names and networks.

1. What is taken is taken again, the same, when our client sends it on; it holds no control
   character and no space outside quotes.
2. Parameters are decoded to text that is printable, and encoded to what is decoded the same.
3. A domain of the configuration, a relay and a network are written in one way.
4. Whatever an address is, routing has a site or a failure for it, and it has one spelling.
"""

from __future__ import annotations

import re

from postroom.config.addresses import as_domain, is_domain, join, split
from postroom.core.errors import ReplyError
from postroom.core.message import Recipient
from postroom.routing.destination import RoutingFailure
from postroom.routing.names import literal_address, normalise
from postroom.smtp.server_parameters import parse_mail_parameters, parse_rcpt_parameters
from postroom.smtp.syntax import parse_helo_argument, parse_mail_argument, parse_rcpt_argument
from postroom.smtp.xclient import parse_xclient
from postroom.smtp.xtext import decode_orcpt, decode_xtext, encode_orcpt, encode_xtext
from tests.fuzz.target import Target, spelt

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SPACE = re.compile(r'^[^"]*[ <>]')


def try_one(octets: bytes) -> None:
    """See the module."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    for word, parse in (("FROM", parse_mail_argument), ("TO", parse_rcpt_argument)):
        for argument in (text, f"{word}:<{text}>"):
            try:
                address, parameters = parse(argument)
            except ReplyError as error:
                assert 500 <= error.reply.code < 560 and error.reply.text
                continue
            assert not _UNSAFE.search(address) and not _SPACE.match(address)
            assert len(address.encode()) <= 254
            assert parse(f"{word}:<{address}>") == (address, "")
            if domain := Recipient(address).domain:
                _check_domain(domain)
            _check_parameters(parameters)
    _check_parameters(text)
    try:
        name = parse_helo_argument(text)
    except ReplyError:
        pass
    else:
        assert name.isprintable() and name.isascii() and parse_helo_argument(name) == name
    try:
        parse_xclient(text)
    except ReplyError:
        pass
    _check_xtext(text)
    _check_hosts(text)
    _check_domain(text)


def _check_domain(domain: str) -> None:
    try:
        found = normalise(domain)
    except RoutingFailure as error:
        assert error.reply.enhanced == "5.1.2" and error.reply.text.isprintable()
        return
    assert found.isascii() and len(found) <= 255 and normalise(found) == found
    literal = literal_address(found)
    assert literal is None or literal_address(literal) == literal
    configured = as_domain(domain)
    assert configured in (None, found), f"the configuration means {configured} by {found}"


def _check_parameters(text: str) -> None:
    try:
        found = parse_mail_parameters(text)
    except ReplyError as error:
        assert error.reply.code in (501, 555)
    else:
        assert found.envid == "" or found.envid.isprintable()
        assert 0 <= found.size_octets < 10**20
    for smtputf8 in (True, False):
        try:
            notify, orcpt = parse_rcpt_parameters(text, smtputf8)
        except ReplyError as error:
            assert error.reply.code in (501, 555)
            continue
        assert 0 <= notify < 16 and (orcpt == "" or orcpt.isprintable())
        if orcpt:
            sent = encode_orcpt(orcpt)
            assert sent.isascii() and re.fullmatch(r"[!-~]+", sent)
            again = decode_orcpt(sent)
            assert again.partition(";")[2] == orcpt.partition(";")[2]


def _check_xtext(text: str) -> None:
    encoded = encode_xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", encoded)
    assert decode_xtext(encoded) == text
    try:
        decoded = decode_xtext(text)
    except ValueError:
        return
    assert decode_xtext(encode_xtext(decoded)) == decoded


def _check_hosts(text: str) -> None:
    name = as_domain(text)
    if name is not None:
        assert is_domain(name) and as_domain(name) == name
    try:
        host, port = split(text, 25)
    except ValueError as error:
        assert str(error)
        return
    assert 0 <= port <= 65535 and split(join(host, port), None) == (host, port)


TARGET = Target(
    "addresses",
    try_one,
    [
        "postroom.smtp.syntax",
        "postroom.smtp.server_parameters",
        "postroom.smtp.server_terms",
        "postroom.smtp.xtext",
        "postroom.smtp.xclient",
        "postroom.routing.names",
        "postroom.config.addresses",
    ],
    seeds=spelt(
        r'a@b.example | "a b\\"c"@[IPv6:::1] | @r.example,@s:x@[192.0.2.1]'
        r" | FROM:<a@b> SIZE=9 BODY=8BITMIME"
        r" | TO:<postmaster> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b"
        r" | xn--bcher-kva.example | \xc3\xa9@b\xc3\xbccher.example | [::1]:25"
        r" | mx.example:587"
        r" | ENVID=a+20b AUTH=<> HOLDFOR=5 BY=60;NT MT-PRIORITY=-3 SMTPUTF8 | 192.0.2.1"
        r" | ORCPT=utf-8;\\x{E9}a | ADDR=192.0.2.1 LOGIN=a+20b HELO=x PROTO=ESMTP"
    ),
    words=spelt(
        r" SIZE= |  BODY=7BIT |  RET=FULL |  ENVID= |  NOTIFY= |  ORCPT=utf-8;"
        r' | \\x{10FFFF} | \\x{D800} | +00 | +0D+0A | +ED+A0+80 | [IPv6: | "\\ "@ | xn--'
        r" | \xe2\x80\x8d | \xe3\x80\x82 | \xc2\xad | @ |  | HOLDUNTIL=2026-12-01T08:00Z"
        r" | BY=-5;R | TO:< | FROM:<> | \xcc\x81 | \xef\xbd\x8f"
    ),
    octets_max=600,
)
