"""`python -m medrobust ...` is `medrobust ...`."""

from medrobust.cli import main

if __name__ == "__main__":
    main()
