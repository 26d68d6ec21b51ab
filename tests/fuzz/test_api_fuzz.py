"""Requests drawn from the OpenAPI document: every answer is one that the document tells of.

A short run is part of the suite; `make properties` makes more. The server has one queue, and a
relay where nobody listens.
"""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import Case
from schemathesis.checks import CHECKS, not_a_server_error

from postroom.api.openapi import document
from postroom.api.routes import ROUTES
from postroom.control.tokens import Role
from tests.support.daemon import Daemon
from tests.support.examples import examples
from tests.support.http import CONSOLE, Http

LEFT_OUT = {
    "/api/v1/stream",  # it does not end
    "/api/v1/queues",  # it would start as many workers as there are examples
    "/api/v1/reload",  # a second each
}
SCHEMA = schemathesis.openapi.from_dict(
    document([r for r in ROUTES if r.full_path not in LEFT_OUT])
)
NOT_OURS = {
    "ignored_auth",  # it takes the credentials away that we put in, and expects them gone
    "unsupported_method",
    # What is drawn as wrong may be right by another reading: the path decides what is there.
    "positive_data_acceptance", "missing_required_header", "use_after_free",
    "ensure_resource_availability",
}  # fmt: skip


@pytest.fixture(scope="module")
def user() -> Iterator[Http]:
    with Daemon(relay=1, queues=1, config=CONSOLE) as daemon:
        one = Http.of(daemon, Role.OPERATOR)
        yield one
        assert not daemon.events("defect")


@SCHEMA.parametrize()
@examples(8, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_tells_of(case: Case, user: Http) -> None:
    host, port = user.address
    headers = {"Authorization": f"Bearer {user.token}", "Host": f"{host}:{port}"}
    # A longer request line is refused by the HTTP library, which knows no problems.
    hypothesis.assume(len(str(case.query)) < 2000)
    response = case.call(base_url=f"http://{host}:{port}", headers=headers, timeout=60)
    checks = [check for check in CHECKS.get_all() if check.__name__ not in NOT_OURS]
    if response.status_code == 503:
        # A queue that an example took offline: told as a problem, which the others check.
        checks = [check for check in checks if check is not not_a_server_error]
    case.validate_response(response, checks=checks)
