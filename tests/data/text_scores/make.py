"""Score made-up reports by pycocoevalcap 1.2 and NLTK 3.10.4: texts.json and scores.json.

Run in an environment of its own, without Java: `pip install pycocoevalcap nltk`, then
`python make.py`. Texts are divided at white space by both, as `words_of` leaves them.
NLTK counts a run of four words in a text of three; it scores the answers that are longer.
"""

import json
import random
from pathlib import Path

HERE = Path(__file__).parent
SENTENCES = (
    "the heart is normal in size",
    "the heart size is normal",
    "no pleural effusion or pneumothorax is seen",
    "there is no pleural effusion",
    "there is a large left pleural effusion",
    "a small right apical pneumothorax is seen",
    "the lungs are clear",
    "lungs are clear without focal consolidation",
    "patchy opacity at the right lung base may be pneumonia",
    "no acute cardiopulmonary process",
    "the the the",
)


def report(draw: random.Random) -> str:
    return " ".join(draw.sample(SENTENCES, draw.randint(1, 4)))


def main() -> None:
    """Make up reports, and score them."""
    from nltk.translate.bleu_score import corpus_bleu
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    draw = random.Random(22)
    references = {image: [report(draw) for _ in range(1 + image % 3)] for image in range(40)}
    answers = {image: [report(draw)] for image in range(40)}
    answers[7] = references[7][:1]
    answers[8] = ["nothing in common"]
    answers[9] = ["the"]
    (bleu, _), (rouge, each_rouge), (cider, each_cider) = (
        Bleu(4).compute_score(references, answers, verbose=0),
        Rouge().compute_score(references, answers),
        Cider().compute_score(references, answers),
    )
    long = [image for image in answers if len(answers[image][0].split()) >= 4]
    several = [[text.split() for text in references[image]] for image in long]
    given = [answers[image][0].split() for image in long]
    texts = {"references": list(references.values()), "answers": [a for (a,) in answers.values()]}
    scores = {
        "bleu": bleu,
        "bleu_of_nltk": [
            corpus_bleu(several, given, weights=[1 / size] * size) for size in range(1, 5)
        ],
        "rouge_l": list(map(float, each_rouge)),
        "cider_d": list(map(float, each_cider)),
        "means": [float(rouge), float(cider)],
    }
    for name, content in (("texts", texts), ("scores", scores)):
        (HERE / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
