"""The reference's cells: found in the plan or in the store, never guessed."""

from dataclasses import replace

import pytest
from stores import cell_key, data_record, write_cell, write_matrix

from medrobust.reporting import reference_cells
from medrobust.reporting.from_store import expected_tables, gaps
from medrobust.reporting.matrices import build_matrices
from medrobust.tasks.classification.task import Classification
from medrobust.tasks.lookup import given

COMMAND = "python run.py model=weak"


def run(tmp_path, models, reference="weak"):
    corruptions, severities = ["contrast"], [1, 2]
    return write_matrix(
        tmp_path, data_record(), models, corruptions=corruptions, severities=severities
    )


def look_up(store, cells):
    return reference_cells(store, cells, "weak", command=COMMAND)


def test_cells_of_the_plan_itself_are_the_reference(tmp_path):
    store, cells = run(tmp_path, {"weak": 0.5, "strong": 1})
    found, note = look_up(store, cells)
    assert [c.fingerprint for c in found] == [c.fingerprint for c in cells[:3]]
    assert note is None


def test_cells_of_an_earlier_run_are_found_in_the_store(tmp_path):
    store, cells = run(tmp_path, {"weak": 0.5, "strong": 1})
    found, note = look_up(store, cells[3:])
    assert [c.fingerprint for c in found] == [c.fingerprint for c in cells[:3]]
    assert note is None


def test_missing_cells_are_counted_in_one_line_with_the_command(tmp_path):
    store, cells = run(tmp_path, {"strong": 1})
    found, note = look_up(store, cells)
    assert found == []
    assert "3 of 3 cells" in note
    assert note.endswith(COMMAND)
    assert "\n" not in note


def test_an_adapted_reference_is_not_the_reference(tmp_path):
    store, cells = run(tmp_path, {"strong": 1})
    write_cell(store, cells[0].data, cell_key(cells[0].data, "weak", adapter="lora"))
    assert look_up(store, cells[:1])[0] == []


def test_another_corruption_seed_or_data_set_is_not_the_same_condition(tmp_path):
    store, cells = run(tmp_path, {"strong": 1})
    data = cells[0].data
    write_cell(store, data, cell_key(data, "weak", "contrast", 1, seed=7))
    other = data_record(count=61)
    write_cell(store, other, cell_key(other, "weak"))
    assert look_up(store, cells)[0] == []


def test_among_several_configurations_the_same_prompt_set_decides(tmp_path):
    store, cells = run(tmp_path, {"weak": 0.5, "strong": 1})
    data = cells[0].data
    write_cell(store, data, cell_key(data, "weak", prompts="other"))
    found, note = look_up(store, cells[3:4])
    assert [c.fingerprint for c in found] == [cells[0].fingerprint]
    assert note is None


def test_a_reference_with_other_class_texts_is_not_the_reference(tmp_path):
    store, cells = run(tmp_path, {"strong": 1})
    key = cell_key(cells[0].data, "weak")
    other = replace(key, head=key.head | {"texts": [["another text"]]})
    write_cell(store, cells[0].data, other)
    found, note = look_up(store, cells[:1])
    assert found == []
    assert "1 of 1 cell is not in the store (those of other class texts are)" in note
    write_cell(store, cells[0].data, key)
    found, note = look_up(store, cells[:1])
    assert [c.fingerprint for c in found] == [key.fingerprint]
    assert note is None


@pytest.mark.parametrize("nested", [True, False])
def test_a_reference_of_another_depth_reads_other_blocks_of_the_same_texts(tmp_path, nested):
    def reading(key, blocks):
        read = {"maps": {"blocks": blocks, "scaled_by": "v"}} if nested else {"blocks": blocks}
        return replace(key, head=key.head | read)

    store, cells = run(tmp_path, {"strong": 1})
    data = cells[0].data
    deep, shallow, other = (reading(cell_key(data, "weak"), to) for to in ([6, 12], [1, 2], [2]))
    asked = reading(cell_key(data, "strong"), [6, 12])
    for key in (asked, shallow):
        write_cell(store, data, key)
    asked = [store.read(asked.spec, asked.fingerprint)]
    found, note = look_up(store, asked)
    assert ([c.fingerprint for c in found], note) == ([shallow.fingerprint], None)
    write_cell(store, data, other)
    assert "several configurations" in look_up(store, asked)[1]
    write_cell(store, data, deep)
    found, note = look_up(store, asked)
    assert ([c.fingerprint for c in found], note) == ([deep.fingerprint], None)


def test_configurations_that_cannot_be_told_apart_leave_the_reference_out(tmp_path):
    store, cells = run(tmp_path, {"weak": 0.5, "strong": 1})
    data = cells[0].data
    write_cell(store, data, cell_key(data, "weak", precision="16-mixed"))
    found, note = look_up(store, cells[3:4])
    assert found == []
    assert "several configurations" in note


class Marking(Classification):
    """A task that only tests know, whose arrays look like a classifier's."""

    kind = "marking"


def marked(store, cells):
    """Write the same cells under the head of another task; return them."""
    done = []
    for cell in cells:
        corruption = cell.spec.corruption, cell.spec.severity
        key = cell_key(cell.data, cell.spec.model, *corruption, seed=cell.spec.seed)
        key = replace(key, head={"kind": "marking"})
        store.write(key, cell.arrays, {"status": "done"})
        done.append(store.read(key.spec, key.fingerprint))
    return done


def test_an_answer_to_another_question_is_no_reference_of_a_classifier(tmp_path):
    _, weak = run(tmp_path / "weak", {"weak": 0.5})
    with given(Marking()):
        other, strong = run(tmp_path / "strong", {"strong": 1})
        other.write_data(weak[0].data)
        found, note = look_up(other, strong + marked(other, weak))
        of_the_other_task = [c for c in found if c.task != "classification"]
        assert len(of_the_other_task) == len(found) == 3  # for themselves alone
        assert "3 of 6 cells are not in the store" in note
        assert look_up(other, strong)[0] == []


def test_answers_to_two_questions_never_share_a_matrix(tmp_path):
    store, cells = run(tmp_path, {"weak": 0.5, "strong": 1})
    with given(Marking()):
        both = [*cells, *marked(store, cells[3:])]
        tables = expected_tables(both)
        assert [table.task for table in tables] == ["classification", "marking"]
        assert [sum(map(table.holds, both)) for table in tables] == [6, 3]
        matrices = build_matrices(both, expected=expected_tables(cells))
        assert [len(matrix.rows) for matrix in matrices] == [2, 1]
        (clean, *_) = marked(store, cells[3:4])
        assert gaps([*cells, clean], tables[:1]) == []
