"""The command line, one module per group of commands.

Each holds plain functions that `homeserver.cli` makes commands of; what they have in common is in
`options`. None is imported by anything but the command line.
"""
