"""
How a client comes back to the server it had: kinds of persistence, and chains of them.

Names and no I/O: what is known by key is in a L{lbtwist.interfaces.IPersistenceStore}, and
who is sent to which server is the pool's concern.
"""
