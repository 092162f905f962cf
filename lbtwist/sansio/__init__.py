"""
Bytes in, values out: what is spoken on the wire, without any I/O.

Nothing here imports Twisted or zope; every reader takes bytes in any pieces.
"""
