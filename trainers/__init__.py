"""Commands that train: flags and defaults, no logic."""

import signal
import sys

from trainers import own_methods

# A program is being started. Until its `command.outcome` hears Ctrl-C, that shall end it without
# the traceback of an import.
if sys.argv[0] == "-m":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
own_methods.register()
