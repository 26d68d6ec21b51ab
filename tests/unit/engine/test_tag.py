"""The tag of a message is the first field of its name in the header, and nothing else."""

from __future__ import annotations

import pytest

from postroom.engine.tag import HEADER_MAX_OCTETS, TagReader

RECEIVED = b"Received: from a by b\r\n"


@pytest.mark.parametrize(
    ("content", "tag"),
    [
        (b"X-Postroom-Tag: News\r\n\r\nbody\r\n", "news"),
        (b"Subject: s\r\nx-postroom-tag:a\r\nX-Postroom-Tag: b\r\n\r\n", "a"),
        (b"X-Postroom-Tag:\r\n\tfolded\r\n\r\n", "folded"),
        (b"X-Postroom-Tag \t: spaced\r\n\r\n", "spaced"),
        (b"X-Postroom-Tag: last", "last"),
        (b"Subject: s\r\n\r\nX-Postroom-Tag: body\r\n", ""),
        (b"\r\nX-Postroom-Tag: body\r\n", ""),
        (b"X-Postroom-Tags: a\r\nNot-X-Postroom-Tag: b\r\n\r\n", ""),
        (b"Subject: a\r\n X-Postroom-Tag: folded\r\n\r\n", ""),
        (b"X-Postroom-Tag: two words\r\n\r\n", ""),
        (b"X-Postroom-Tag: \xc3\xbc\r\n\r\n", ""),
        (b"X-Postroom-Tag: " + b"a" * 101 + b"\r\n\r\n", ""),
        (b"X-Postroom-Tag:\r\n\r\n", ""),
        (b"", ""),
    ],
)
def test_a_tag_is_read(content: bytes, tag: str) -> None:
    assert TagReader().read((RECEIVED, content)) == tag
    halves = (RECEIVED, content[: len(content) // 2], content[len(content) // 2 :])
    assert TagReader().read(halves) == tag


def test_the_field_is_configured_and_not_looked_for_beyond_a_bound() -> None:
    assert TagReader("X-Campaign").read((b"X-Campaign: spring\r\n\r\n",)) == "spring"
    filler = b"X-Filler: " + b"a" * HEADER_MAX_OCTETS + b"\r\n"
    assert TagReader().read((RECEIVED, filler, b"X-Postroom-Tag: far\r\n\r\n")) == ""
