"""Putting the parts together: a worker, and the processes of a whole server.

`serving` is the parent: it starts a `keeper`, who keeps the database, and equal workers, each of
which runs a `worker.Worker`. `assembly` alone knows what is made of what.
"""
