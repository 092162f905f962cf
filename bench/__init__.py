"""
The bench: lbtwist and its peers do the same work on one machine, in turn.

Run as C{python -m bench}. Nothing in L{lbtwist} imports it, and it imports
nothing of L{lbtwist}: every program is measured from outside, as a process.
"""
