"""Look up the locked dependencies in a list of known vulnerabilities: `make audit`.

    python tools/audit.py [--auditor PROGRAM]

Nothing is resolved or installed: what is asked about is what the lock files name, those of the
runtime, of the build, of tests and of the documentation. pip-audit asks the package index.

Exits 1 where a locked version has a known vulnerability. Where the list cannot be reached, or does
not answer, that is told and is no failure: no change of ours is at fault, and the next run asks
again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LOCKED = (
    "requirements.txt", "requirements-build.txt", "requirements-dev.txt", "requirements-docs.txt",
    "requirements-fuzz.txt",
)  # fmt: skip
ACCEPTED: dict[str, str] = {}
"""Vulnerabilities by id that do not concern us, each with the reason."""
DEADLINE_S = 240
ANSWER_S = 15


class Verdict(NamedTuple):
    """What an audit came to: what to print, and the exit status."""

    lines: list[str]
    status: int


def verdict_of(file: str, output: str, error: str) -> Verdict:
    """Return what the answer of pip-audit (`--format json`) about one lock file means."""
    try:
        found = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (error.strip().splitlines() or ["no answer"])[-1]
        return Verdict([f"{file}: NOT AUDITED, the list cannot be asked: {last[:300]}"], 0)
    lines, status = [f"{file}: {len(found)} packages asked about"], 0
    for package in found:
        for vulnerability in package.get("vulns", ()):
            named = f"{package['name']} {package['version']}: {vulnerability['id']}"
            if reason := ACCEPTED.get(vulnerability["id"]):
                lines.append(f"  {named}, accepted: {reason}")
                continue
            mended = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
            lines.append(f"  VULNERABLE {named}; mended in {mended}")
            status = 1
    return Verdict(lines, status)


def audit(auditor: str, file: str) -> Verdict:
    """Ask about one lock file."""
    command = [
        auditor, "--requirement", str(ROOT / file), "--disable-pip", "--require-hashes",
        "--format", "json", "--progress-spinner", "off", "--timeout", str(ANSWER_S),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        return verdict_of(file, "", f"no answer within {DEADLINE_S} s")
    return verdict_of(file, done.stdout, done.stderr)


def main(argv: list[str]) -> int:
    """Ask about each file; return the exit status."""
    parser = argparse.ArgumentParser(description="known vulnerabilities of locked dependencies")
    parser.add_argument("--auditor", default=str(Path(sys.executable).with_name("pip-audit")))
    options = parser.parse_args(argv)
    status = 0
    for file in LOCKED:
        verdict = audit(options.auditor, file)
        print("\n".join(verdict.lines), flush=True)
        status = max(status, verdict.status)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
