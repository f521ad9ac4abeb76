"""`python -m medrobust ...` is `medrobust ...`."""

import sys

if __name__ == "__main__":
    # Python looks for modules in the current folder first, where a random.py of one's own would
    # take the place of the library's.
    if not sys.flags.safe_path:
        sys.path.append(sys.path.pop(0))
    from medrobust.cli import main

    main()
