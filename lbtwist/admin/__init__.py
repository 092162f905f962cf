"""
What an operator asks of a running balancer and tells it: its numbers as rows, commands, and
the sockets that these come by.

Nothing here is on the way of a request, and nothing of the balancer knows of it.
"""
