"""
Where servers come from that are not written down: what C{servers NAME = SOURCE} names. Each
asks once when it is told to; L{lbtwist.membership} repeats it and makes servers of the answer.
"""
