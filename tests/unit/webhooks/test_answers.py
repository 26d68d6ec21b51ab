"""What a collector's answer means: tried again, refused for good, or taken in part."""

from __future__ import annotations

import pytest

from postroom.webhooks.answers import Answer, of_events, of_spans


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_four_statuses_are_tried_again_when_the_collector_says(status: int) -> None:
    assert of_spans(status, {"retry-after": "30"}, b"", 5) == Answer(f"HTTP status {status}", 30.0)
    assert of_spans(status, {"retry-after": "soon"}, b"", 5).retry_after_s == 0.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 500, 501])
def test_any_other_failure_is_final(status: int) -> None:
    answer = of_spans(status, {}, b'{"code": 3, "message": "no\\nsuch  tenant"}', 5)
    assert answer == Answer(f"HTTP status {status}: no such tenant", is_final=True, refused=5)
    assert of_spans(status, {}, b"<html>", 5).error == f"HTTP status {status}"
    assert not answer.is_taken


def test_a_redirect_is_neither_followed_nor_final() -> None:
    assert of_spans(307, {"location": "http://elsewhere/"}, b"", 5) == Answer("HTTP status 307")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"partialSuccess":{}}', b"\x08", b"[]"])
def test_all_is_taken_where_nothing_else_is_said(body: bytes) -> None:
    assert of_spans(200, {}, body, 5) == Answer()


@pytest.mark.parametrize(("given", "refused"), [('"3"', 3), ("3", 3), ('"900"', 5), ("-1", 0)])
def test_a_part_that_is_refused_is_counted(given: str, refused: int) -> None:
    body = f'{{"partialSuccess":{{"rejectedSpans":{given},"errorMessage":"too old"}}}}'
    answer = of_spans(200, {}, body.encode(), 5)
    assert (answer.refused, answer.is_final, "too old" in answer.error) == (refused, True, True)
    assert answer.is_taken is (refused == 0)


def test_a_receiver_of_events_is_tried_again_whatever_it_says() -> None:
    assert of_events(204, {}) == Answer()
    assert of_events(400, {"retry-after": "9"}) == Answer("HTTP status 400")
    assert of_events(503, {"retry-after": "9"}) == Answer("HTTP status 503", 9.0)
