"""What an audit of dependencies means: a vulnerability fails it, a list out of reach does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import audit


def answer(*vulnerabilities: str) -> str:
    found = [{"id": one, "fix_versions": ["2.0"]} for one in vulnerabilities]
    return json.dumps({"dependencies": [{"name": "x", "version": "1.0", "vulns": found}]})


def test_a_known_vulnerability_fails_it_and_names_the_version_that_mends_it() -> None:
    verdict = audit.verdict_of("requirements.txt", answer("PYSEC-1"), "Found 1 known")
    assert verdict.status == 1
    assert verdict.lines[1] == "  VULNERABLE x 1.0: PYSEC-1; mended in 2.0"


def test_what_was_accepted_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.ACCEPTED, "PYSEC-1", "only on Windows")
    verdict = audit.verdict_of("requirements.txt", answer("PYSEC-1"), "")
    assert verdict == (
        ["requirements.txt: 1 packages asked about", "  x 1.0: PYSEC-1, accepted: only on Windows"],
        0,
    )


@pytest.mark.parametrize("output", ["", "<html>", "[]", '{"error": 1}', "null"])
def test_a_list_that_does_not_answer_is_told_and_fails_nothing(output: str) -> None:
    verdict = audit.verdict_of("requirements.txt", output, "Traceback\nConnectionError: no route\n")
    assert verdict.status == 0
    assert "NOT AUDITED" in verdict.lines[0] and "no route" in verdict.lines[0]


def test_every_lock_file_is_asked_about() -> None:
    locked = {path.name for path in audit.ROOT.glob("requirements*.txt")}
    assert {*audit.LOCKED, "requirements-audit.txt"} == locked


def test_an_auditor_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "auditor"
    program.write_text("#!/bin/sh\necho 'ERROR: cannot connect' >&2; exit 1\n")
    program.chmod(0o755)
    assert audit.main(["--auditor", str(program)]) == 0
    assert capsys.readouterr().out.count("cannot connect") == len(audit.LOCKED)
