"""The law of the event graph: what is valid, what may happen, what the state is.

Values in, values out. Nothing here opens a socket, reads a clock or awaits, but `federation.net`.
"""
