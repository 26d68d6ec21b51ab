"""A request that cannot be done, as RFC 9457 tells it: application/problem+json.

Every problem says what was wrong; where one field is to blame, which, what was expected of it,
and what to do. `type` leads to the page that explains it.
Called by: api, console.  Raises: nothing; it is raised.
RFCs: RFC 9457.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from postroom.control.protocol import Code, ControlError
from postroom.core.errors import PostroomError

MEDIA_TYPE = "application/problem+json"


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """The body of an answer that is a problem.

    `field` names the part of the request that is to blame, `expected` what was expected there,
    `remedy` what to do.
    """

    kind: str
    title: str
    status: int
    detail: str
    field: str = ""
    expected: str = ""
    remedy: str = ""


class Problem(PostroomError):
    """What keeps a request from being done; becomes the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str = "",
        expected: str = "",
        remedy: str = "",
        kind: str = "",
        retry_after_s: int = 0,
    ) -> None:
        """`kind` is a word for programs; "" is that of the status."""
        super().__init__(detail)
        title = HTTPStatus(status).phrase
        word = kind or title.lower().replace(" ", "-").replace("'", "")
        self.retry_after_s = retry_after_s
        self.body = ProblemBody(
            f"urn:postroom:{word}", title, status, detail, field, expected, remedy
        )

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.body.status

    def encode(self) -> bytes:
        """Return the body of the answer."""
        return msgspec.json.encode(self.body)


_STATUS = {
    Code.USAGE: 400,
    Code.NOT_FOUND: 404,
    Code.REFUSED: 409,
    Code.UNAVAILABLE: 503,
    Code.DEFECT: 500,
}


def of_control(error: ControlError) -> Problem:
    """Return what an error of the control protocol is to a client of the API."""
    status = _STATUS.get(Code(error.code), 500) if error.code in set(Code) else 500
    retry = RETRY_AFTER_S if status == 503 else 0
    return Problem(status, error.error, remedy=error.hint, retry_after_s=retry)


RETRY_AFTER_S = 5
"""A worker that ended is started again within a second or a few."""
