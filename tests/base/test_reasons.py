"""What an error says in one line: its words, those behind it, or where it arose."""

import pytest

from medrobust.base.reasons import exported_by, named_reason, reason_of


def raised(inner: BaseException, outer: BaseException | None = None) -> BaseException:
    try:
        try:
            raise inner
        except type(inner) as error:
            if outer is None:
                raise
            raise outer from error
    except BaseException as error:
        return error


def test_causes_that_say_more_are_added_and_no_word_stands_twice() -> None:
    told = reason_of(raised(ValueError("'abc' is no number"), ImportError("cannot load 'x':")))
    assert told == "cannot load 'x' (ValueError: 'abc' is no number)"
    assert reason_of(raised(ValueError("same"), RuntimeError("the same again"))) == "the same again"
    deep = raised(raised(OSError(28, "No space left"), KeyError("part")), TypeError("no"))
    assert reason_of(deep) == "no (KeyError: 'part') (OSError: [Errno 28] No space left)"


@pytest.mark.parametrize("words", [(), ("",), (" \n",), (".",), ((),)])
def test_an_error_without_words_gives_its_type_and_place(words: tuple[object, ...]) -> None:
    told = named_reason(raised(AssertionError(*words)))
    assert told.startswith("AssertionError without a word, raised in test_reasons.py, line ")


def test_an_error_without_words_gives_what_it_arose_in() -> None:
    error = KeyError()
    error.__context__ = ValueError("the first")
    assert reason_of(error) == "KeyError without a word (ValueError: the first)"
    error.__suppress_context__ = True
    assert reason_of(error) == "KeyError without a word"


def test_long_reasons_and_places_of_pytorchs_source_are_left_out() -> None:
    error = RuntimeError("bad device\nException raised from f at /x.cpp:1 (most recent call first)")
    assert named_reason(error) == "RuntimeError: bad device"
    assert len(reason_of(ValueError("a " * 5000))) == 300


def test_a_chain_that_closes_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert reason_of(one) == "one (ValueError: other)"


def test_a_variable_is_named_by_its_name_or_quoted_value_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FROBNICATE_KEY", "secret")
    said = " FROBNICATE_KEY is exported: unset it, or correct it."
    assert exported_by("The value of FROBNICATE_KEY must be one") == said
    assert exported_by("cannot read 'secret'") == said
    assert exported_by("a secret") == ""
    monkeypatch.setenv("FROBNICATE_TOO", "secret")
    assert exported_by("cannot read 'secret'") == ""  # which of both?
