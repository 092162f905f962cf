"""
Who is told what happens to servers, besides the log: L{lbtwist.interfaces.IHealthObserver}
by the words that follow C{notify =}.

What is told, and to whom, is L{lbtwist.announcing}'s.
"""
