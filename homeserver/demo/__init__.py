"""`hearth demo`: two servers, three people, and what the servers' operators could read of it.

A client of its own, as small as one can be; it uses nothing of the server but its command line.
"""
