"""What a page says of texts that a model could not read whole."""

from html import escape

from medrobust.base.wording import agreeing, part_of
from medrobust.tasks.base import CUT_TEXTS, Table


def cut_texts_note(matrix: Table) -> str:
    """Say of each model how many texts are longer than its context; nothing where none is.

    Args:
        matrix: Its rows are models, each with its texts.
    """
    found: dict[str, list[str]] = {}
    for row, line in enumerate(matrix.rows):
        cells = matrix.cells_at(row, 0)
        cut = cells[0].head.get(CUT_TEXTS) if cells else None
        if cut is not None:
            longer = part_of(cut["number"], cut["of"], "text")
            said = (
                f"{longer} {agreeing(cut['number'], 'is')} longer than the {cut['context']} tokens "
                f"that the model reads: cut there"
            )
            found.setdefault(said, []).append(line.label)
    items = "".join(
        f"<li>{escape(', '.join(labels))}: {escape(said)}</li>" for said, labels in found.items()
    )
    return f'<ul class="small">{items}</ul>' if items else ""
