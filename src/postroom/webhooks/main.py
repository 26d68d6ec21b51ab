"""Where the webhooks process begins: `python -m postroom.webhooks.main --link N`.

Only the master starts it; N is the number of its end of the link.
Called by: supervisor.companions (as a program).  Raises: SystemExit.
"""

from __future__ import annotations

import sys

from postroom.supervisor.companion import main
from postroom.webhooks.service import open_webhooks

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], open_webhooks))
