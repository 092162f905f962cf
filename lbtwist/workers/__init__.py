"""
Several processes that serve together: one parent, which holds the listening sockets, checks the
servers, asks for names and is where administrators come in, and workers, which accept and do all
that is done for clients.

The parent says which configuration counts and how servers are; workers say what they have
counted, and what real traffic has found. They do so over a pair of sockets
(L{lbtwist.workers.channel}), several times in a second and never on the way of an exchange.
"""
