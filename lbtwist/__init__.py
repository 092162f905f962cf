"""A multi-protocol load balancer framework on Twisted."""

import os

__version__ = "0.1.0"

PASSED = {
    name: os.environ.get(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
}
"""What sd_listen_fds(3) goes by. Twisted takes it out of the environment as soon as its
endpoints are imported."""
