"""
C{lbtwist top}: a live view of a running balancer in a terminal.

L{lbtwist.top.sample} makes rates of what the balancer says, L{lbtwist.top.view} is what is
looked at and what keys do to it, L{lbtwist.top.drawing} makes lines of it: these three are
pure. L{lbtwist.top.feed} asks the balancer, L{lbtwist.top.terminal} has the terminal, and
L{lbtwist.top.live} brings all of it together.
"""
