"""`medrobust export ...` by its former name, for one release."""

from medrobust.cli.subcommands import door

if __name__ == "__main__":
    door("export")
