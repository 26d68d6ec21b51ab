"""`python -m postroom.sink`: the sink without the rest of the commands."""

import sys

from postroom.sink.command import main

sys.exit(main())
