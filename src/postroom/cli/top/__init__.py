"""`postroom top`: a live view of the server in a terminal.

    command    the options; once, as JSON lines, or live
    session    the loop: keys, the newest overview, the screen
    watcher    asks the server in a thread of its own, and does what keys ask for
    state      where somebody is in it; what a key means there (pure)
    sheet      rows and columns of each tab (pure)
    frame      the lines of the screen (pure)
    terminal   the terminal: raw, restored always, only changed lines written

Called by: cli.main.  Raises: nothing.
"""
