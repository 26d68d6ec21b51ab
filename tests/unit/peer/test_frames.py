"""Frames between workers are cut out of a stream however it arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.peer.frames import CONTENT_OCTETS_MAX, FrameError, FrameReader, frame

FRAMES = st.lists(st.tuples(st.binary(max_size=40), st.lists(st.binary(max_size=40), max_size=3)))


@given(FRAMES, st.lists(st.integers(min_value=1, max_value=30)))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    sent: list[tuple[bytes, list[bytes]]], cuts: list[int]
) -> None:
    stream = b"".join(b"".join(frame(head, tuple(parts))) for head, parts in sent)
    reader, found = FrameReader(), []
    for size in [*cuts, len(stream) + 1]:
        piece, stream = stream[:size], stream[size:]
        found += reader.feed(piece)
    assert found == [(head, b"".join(parts)) for head, parts in sent]


def test_a_frame_beyond_the_limit_is_refused_before_anything_is_gathered() -> None:
    octets = (1).to_bytes(4, "big") + (CONTENT_OCTETS_MAX + 1).to_bytes(4, "big")
    with pytest.raises(FrameError, match="too long"):
        FrameReader().feed(octets)
