"""`python run.py …` is `medrobust …` from a checkout."""

from medrobust.cli import main

if __name__ == "__main__":
    main()
