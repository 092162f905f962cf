"""
Where persistence keeps what it knows: in memory, in a file, in a Redis that several
balancers share. Each is an L{lbtwist.interfaces.IPersistenceStore}.
"""
