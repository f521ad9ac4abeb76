"""What is said of a limit: its cost, and how long a reference should be."""

import pytest

from medrobust.monitor.limit_words import few_patients_words, limit_words, silent_words


def said(low, high, confidence=0.0, alarms=400):
    limit = {"run_length": 365.0, "low": low, "high": high, "alarms": alarms}
    return limit_words(
        {
            "reference": {"first": 10, "last": 51},
            "settings": {"confidence": confidence},
            "standard": {"studies": 20.0, "limit": limit},
        }
    )


def test_a_long_reference_is_told_by_its_range():
    assert said(200, 1900) == (
        "one false alarm in 365 days, about 7,300 studies, on clean streams drawn from the "
        "reference; eight in ten references of this length would have one in 200 to 1900 days."
    )


def test_no_range_is_printed_where_none_was_found():
    assert said(365, 365).endswith(
        "; how far references of this length differ in that is not known."
    )
    assert said(365, 365, 0.9).endswith("is not known, and --confidence changes nothing.")


def test_too_few_false_alarms_are_said_in_place_of_a_range_that_came_out_too_small():
    for low, high in ((365, 365), (300, 400)):
        assert "; 150 false alarms on these are too few to tell" in said(low, high, alarms=150)
    assert "150" not in said(365, 900, 0.9, alarms=150)  # known at the lower limit of the mean


def test_few_patients_are_said():
    assert few_patients_words({"reference": {"patients": 30}}) == ""
    assert few_patients_words({"reference": {"patients": 2}}).startswith("2 patients in the refer")


def test_a_detector_that_gathers_first_says_until_when_it_is_silent():
    """The reference ends on the 51st day after 1970-01-01; the thirtieth day after it is judged."""
    known = {"reference": {"last": 51}, "standard": {"limit": {}}}
    found = silent_words({**known, "settings": {"detector": "page_hinkley"}})
    assert "silent until 1970-03-23: it raises no alarm in its first 29 days" in found
    assert silent_words({**known, "settings": {"detector": "ewma"}}) == ""


@pytest.mark.parametrize(
    ("confidence", "end"),
    [(0.0, "a factor of 10; or pass --confidence 0.9."), (0.9, "a factor of 10.")],
)
def test_a_short_one_by_how_long_it_should_be(confidence, end):
    """A factor of 100 is twice that of 10 in its logarithm: four times the days."""
    found = said(70, 7000, confidence)
    assert "42 days are few for that: with single references of that length" in found
    assert "it is one in 70 to 7,000 days" in found
    assert found.endswith(f"About 170 days, 3,400 studies, would narrow that to {end}")
