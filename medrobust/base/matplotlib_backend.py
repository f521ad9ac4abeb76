"""Importing matplotlib where the environment names a backend that there is not."""

import os
import sys
from importlib import import_module

NAMED = "MPLBACKEND"


def import_matplotlib() -> None:
    """Import matplotlib, without the backend that is exported if it cannot take that.

    Figures here are drawn to files and need none. One that there is stays the caller's choice, and
    the environment stays as it is.
    """
    if "matplotlib" in sys.modules or NAMED not in os.environ:
        return
    try:
        import_module("matplotlib")
    except ValueError:  # what it says of a backend that it does not know
        named = os.environ.pop(NAMED)
        for name in [one for one in sys.modules if one.split(".")[0] == "matplotlib"]:
            del sys.modules[name]  # parts of an import that failed know the failed one
        try:
            import_module("matplotlib")
        finally:
            os.environ[NAMED] = named
