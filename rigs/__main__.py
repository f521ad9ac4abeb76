"""Run the rig: `python -m rigs --fuzz 1000` and so on."""

import sys

from rigs.reliability import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
