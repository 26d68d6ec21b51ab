"""`python -m postroom`: the command line."""

from postroom.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
