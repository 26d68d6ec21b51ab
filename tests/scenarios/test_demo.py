"""`make demo` shows what it says, and stops by itself when asked to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_delivers_to_its_sites_and_stops() -> None:
    done = subprocess.run(
        [sys.executable, "tools/demo.py", "--seconds", "3", "--rate", "100"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    taken = re.search(r"Accepted (\d+), taken by the sites: (\{.*\})", done.stdout)
    assert taken, done.stdout
    sites = json.loads(taken[2])
    assert int(taken[1]) > 20
    # The fast site has nearly all of its mail, the grey one refuses for six seconds, and
    # reports about unknown recipients have come home.
    assert sites["fast"] > 10 and sites["grey"] == 0 and sites["home"] > 0
