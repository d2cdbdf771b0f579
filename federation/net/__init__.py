"""The rim of the library, the only part that does I/O: where other servers are, how to ask them.

From the outside in: `client` makes signed requests, `discovery` and `well_known` say where they
go, `transport` and `connector` bring them there. Each imports only those after it.
"""
