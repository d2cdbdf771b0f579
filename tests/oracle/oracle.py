"""Asking Synapse: the process that runs it, and the environment that the process needs.

https://github.com/element-hq/synapse is installed into `.oracle/` by `tests/oracle/setup`, apart
from everything of ours; `HEARTH_ORACLE_PYTHON` names another interpreter that has it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent


class OracleMissingError(Exception):
    """Synapse could not be installed, so there is nobody to ask."""


def oracle_python() -> Path:
    """The interpreter that has Synapse; installs it where need be.

    Raises:
        OracleMissingError: it is not there and pip could not bring it.

    """
    named = os.environ.get("HEARTH_ORACLE_PYTHON")
    if named:
        return Path(named)
    made = subprocess.run([_HERE / "setup", sys.executable], stderr=subprocess.PIPE, check=False)
    if made.returncode:
        raise OracleMissingError(
            "tests/oracle/setup could not install Synapse. Set HEARTH_ORACLE_PYTHON to a Python "
            "that has it, or leave these tests out with --ignore=tests/oracle.\n"
            + made.stderr.decode()
        )
    return _ROOT / ".oracle" / "bin" / "python"


class Oracle:
    """A running Synapse side; one question at a time."""

    def __init__(self, python: Path) -> None:
        command = [str(python), "-I", str(_HERE / "synapse_side.py")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # Writing down where in Rust an event was refused takes longer than refusing it.
            env={**os.environ, "RUST_BACKTRACE": "0"},
        )

    def ask(self, do: str, **question: Any) -> Any:
        """Ask and wait; see `synapse_side` for what can be asked."""
        self.begin(do, **question)
        return self.finish()

    def begin(self, do: str, **question: Any) -> None:
        """Ask; the answer is computed while the caller does something else."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **question}) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Any:
        """The answer to the question that `begin` asked."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the oracle died; its last words are on stderr"
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
