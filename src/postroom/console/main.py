"""Where the console process begins: `python -m postroom.console.main --link N`.

Only the master starts it; N is the number of its end of the link.
Called by: supervisor.companions (as a program).  Raises: SystemExit.
"""

from __future__ import annotations

import sys

from postroom.console.server import open_console
from postroom.supervisor.companion import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], open_console))
