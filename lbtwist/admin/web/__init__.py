"""
The administration by HTTP: an API for programs, a page for people, metrics, and what says
whether it is alive and ready.

Served by L{twisted.web} in the process and by the reactor of the balancer. Everything in it is
read by L{lbtwist.admin.rows} and changed by L{lbtwist.admin.commands}, as by the socket.
"""
