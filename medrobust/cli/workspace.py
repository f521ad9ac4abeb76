"""`medrobust workspace FOLDER`: a W&B workspace for the reports of a project."""

from collections.abc import Sequence
from pathlib import Path

from medrobust.exceptions import ConfigurationError

from .parsing import check_out_file, subcommand_parser

ABOUT = """\
Lay out a W&B workspace for the reports of a project: heat maps, curves, tables, mCE.

The folder is that of a run or sweep, with its summary.csv: it tells which data sets, suites and
models there are. Without --save nothing leaves the machine and no account is needed: the layout is
written as the JSON that W&B keeps of a workspace. With --save it is put into the project.
Needs wandb-workspaces (pip install wandb-workspaces)."""

EXAMPLES = (
    "outputs/sweeps/NAME --out workspace.json",
    "outputs/sweeps/NAME --entity TEAM --save",
)


def main(arguments: Sequence[str]) -> int:
    """Write the layout or save it, and say where it is."""
    parser = subcommand_parser("workspace", ABOUT, *EXAMPLES)
    parser.add_argument("folder", type=Path, help="folder of a run, a sweep or a report")
    parser.add_argument("--project", default="medrobust", help="W&B project (logger.project)")
    parser.add_argument("--entity", default="", help="W&B user or team (logger.entity)")
    parser.add_argument("--name", default="medrobust", help="name of the workspace")
    parser.add_argument("--out", type=Path, default=Path("workspace.json"), help="JSON to write")
    parser.add_argument("--save", action="store_true", help="put it into the project (an account)")
    given = parser.parse_args(arguments)
    if not given.save:
        check_out_file(given.out)
    from medrobust.reporting.wandb_workspace import layout_text, read_summary, workspace

    rows = read_summary(given.folder)
    made = workspace(rows, project=given.project, entity=given.entity, name=given.name)
    if given.save:
        made.save()
        print(made.url)
        return 0
    try:
        given.out.write_text(layout_text(made), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{given.out} cannot be written ({error.strerror}).") from error
    print(given.out)
    return 0
