"""
The program of a worker: C{python -m lbtwist.workers REACTOR}, which only a parent starts.

What is sent to all of the group, or of the unit, is the parent's to answer; that is said before
anything else is loaded, which takes a moment.
"""

import signal

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)

if __name__ == "__main__":
    from lbtwist.workers.worker import main

    main()
