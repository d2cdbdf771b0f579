"""`python -m homeserver` is the command `hearth`."""

from homeserver.cli import main

main()
