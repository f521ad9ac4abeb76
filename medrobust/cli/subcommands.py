"""Words that are jobs of their own: `medrobust WORD ...`, each in a module beside this one."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A job of its own; its module is imported when it is called.

    Attributes:
        module: Of this folder, with a `main` that takes the arguments and returns the exit status.
        headline: What it does, half a line.
    """

    module: str
    headline: str

    def __call__(self, arguments: Sequence[str]) -> int:
        """Do it and return the exit status."""
        status: int = import_module(f".{self.module}", __package__).main(arguments)
        return status


SUBCOMMANDS = {
    "report": Subcommand("report", "make page, figures and tables from a store"),
    "verify": Subcommand("verify", "compute some cells of a store again, and compare"),
    "merge": Subcommand("merge", "join the stores of several machines"),
    "gate": Subcommand("gate", "say on which images a model must not be used"),
    "audit": Subcommand("audit", "say what may be wrong with data sets"),
    "sheet": Subcommand("sheet", "look at a folder of DICOM files before using it"),
    "monitor": Subcommand("monitor", "watch a deployed model for drift"),
    "propose": Subcommand("propose", "draw boxes around what sentences name"),
    "export": Subcommand("export", "write a data set as PNG files and a table"),
    "benchmark-files": Subcommand("benchmark_files", "write corrupted images as files"),
    "prefetch": Subcommand("prefetch", "fetch data and weights for a machine without network"),
    "check-model": Subcommand("check_model", "load a model and say what it is"),
    "convert": Subcommand("convert", "turn a published pickle into safetensors"),
    "workspace": Subcommand("workspace", "lay out a W&B workspace for the reports of a project"),
    "doctor": Subcommand("doctor", "say what is installed and what is missing"),
}
"""Word -> what it runs, in the order of help."""


def door(word: str) -> NoReturn:
    """Run a subcommand for a script that had this job before it was one."""
    from .entry import main

    main([word, *sys.argv[1:]])
