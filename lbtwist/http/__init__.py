"""
C{mode = http}: the side of the client, the side of a server, and the relay between.

Front and back tell the relay heads, data, trailers and ends, never bytes of
HTTP/1, so that another version of HTTP can join on either side.
"""
