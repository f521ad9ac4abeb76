import pytest

from medrobust.exceptions import ConfigurationError
from medrobust.models import PromptSet

CLASSES = ["basophil", "eosinophil"]


def test_templates_become_sentences_in_label_order() -> None:
    prompts = PromptSet("p", ["a photo of a {}.", "{modality} of {} from {dataset}"])
    texts = prompts.texts(dataset="bloodmnist", class_texts=CLASSES, modality="microscopy")
    assert texts == [
        ["a photo of a basophil.", "microscopy of basophil from bloodmnist"],
        ["a photo of a eosinophil.", "microscopy of eosinophil from bloodmnist"],
    ]


def test_another_class_order_permutes_the_sentences_and_nothing_else() -> None:
    prompts = PromptSet("p", ["a {}", "the {}"])
    forward = prompts.texts(dataset="d", class_texts=CLASSES)
    assert prompts.texts(dataset="d", class_texts=CLASSES[::-1]) == forward[::-1]


def test_braces_in_a_class_name_are_text() -> None:
    texts = PromptSet("p", ["a {}"]).texts(dataset="d", class_texts=["{modality}", "{0!r}"])
    assert texts == [["a {modality}"], ["a {0!r}"]]


def test_names_of_a_data_set_replace_its_own_and_may_be_several_phrases() -> None:
    prompts = PromptSet("p", ["a {}"], names={"retinamnist": ["healthy eye", ["mild", "light"]]})
    assert prompts.texts(dataset="retinamnist", class_texts=["0", "1"]) == [
        ["a healthy eye"],
        ["a mild", "a light"],
    ]
    assert prompts.texts(dataset="other", class_texts=["0", "1"]) == [["a 0"], ["a 1"]]


def test_absent_sentences_come_from_their_own_templates() -> None:
    prompts = PromptSet("p", ["{}"], absent=["no {}"])
    assert prompts.absent_texts(dataset="d", class_texts=CLASSES) == [
        ["no basophil"],
        ["no eosinophil"],
    ]
    assert PromptSet("p", ["{}"]).absent_texts(dataset="d", class_texts=CLASSES) is None


@pytest.mark.parametrize(
    ("templates", "complaint"),
    [
        ([], "at least one template"),
        ("a {}", "list"),
        (["a photo"], "no {}"),
        (["a {} in {organ}"], "{organ}"),
    ],
)
def test_templates_that_cannot_work_are_refused(templates: object, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        PromptSet("p", templates)


def test_two_classes_with_the_same_sentences_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="classes 0 and 2 of data set 'd'"):
        PromptSet("p", ["{}"]).texts(dataset="d", class_texts=["a", "b", "a"])


def test_a_wrong_number_of_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names 1 class for data set 'd', which has 2"):
        PromptSet("p", ["{}"], names={"d": ["one"]}).texts(dataset="d", class_texts=CLASSES)


def test_a_missing_modality_is_asked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"dataset\.modality"):
        PromptSet("p", ["{modality} {}"]).texts(dataset="d", class_texts=CLASSES)


def test_the_description_holds_what_decides_the_sentences() -> None:
    one = PromptSet("one", ["{}"], names={"d": ["x", "y"]})
    assert one.description() == PromptSet("two", ("{}",), names={"d": ("x", "y")}).description()
    assert one.description() != PromptSet("one", ["a {}"]).description()


@pytest.mark.parametrize(
    ("modality", "said"),
    [
        ("xray", "an xray of cyst"),
        ("chest x-ray", "a chest x-ray of cyst"),
        ("MRI", "an MRI of cyst"),
    ],
)
def test_the_article_of_a_template_suits_the_modality(modality: str, said: str) -> None:
    prompts = PromptSet("p", ["a {modality} of {}"])
    found = prompts.texts(dataset="d", class_texts=["cyst", "a {modality}"], modality=modality)
    assert found == [[said], [said.replace("cyst", "a {modality}")]]
