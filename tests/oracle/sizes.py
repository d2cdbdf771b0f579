"""How much is compared; more on demand.

Every seed follows from the room version and the number of the case, so a failure repeats itself.
"""

import os

EVENTS = int(os.environ.get("HEARTH_ORACLE_EVENTS", "2000"))
"""Random events per room version and kind of comparison."""

GRAPHS = int(os.environ.get("HEARTH_ORACLE_GRAPHS", "200"))
"""Random event graphs per state resolution algorithm."""
