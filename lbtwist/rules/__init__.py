"""
What to do with a connection, a request or a response: lines of a configuration,
C{VERB ARGUMENTS [if CONDITION]}, asked in written order until one decides.

L{lbtwist.rules.values} is what can be asked for, L{lbtwist.rules.expression} the language
of conditions, L{lbtwist.rules.template} the text with expressions in it,
L{lbtwist.rules.decisions} what a rule may decide and L{lbtwist.rules.rulebook} who asks
them. The verbs are classes like a third party's.
"""
