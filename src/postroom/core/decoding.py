"""What msgspec raises for octets that are not what they should be.

Its own errors are not all: text that is no UTF-8, and values that are nested more deeply than
it follows, come as errors of Python.

Called by: whoever decodes what came from outside this process or from a disk.  Raises: nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
