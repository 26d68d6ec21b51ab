"""From one worker of this server to another: new mail, and mail that moves."""
