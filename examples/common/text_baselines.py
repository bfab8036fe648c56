"""What a network on text has to beat: n-grams that are counted, and the majority."""

from collections.abc import Sequence

import torch
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from torch import Tensor

from .text import Parts, Text

NGRAMS = (1, 4)
STRENGTHS = (1.0, 10.0, 100.0)  # inverse: smaller is more regularisation


def probabilities(parts: Parts) -> dict[str, Tensor]:
    """Of each language in alphabetic order, for the test part: [count, languages]."""
    texts, _ = _columns(parts.test)
    fits = {
        "ngrams": count_ngrams(parts.train, parts.validation),
        "majority": DummyClassifier().fit(*_columns(parts.train)),
    }
    return {name: torch.from_numpy(fit.predict_proba(texts)).float() for name, fit in fits.items()}


def count_ngrams(train: Sequence[Text], validation: Sequence[Text]) -> Pipeline:
    """Logistic regression over the n-grams of characters within a text's words (tf-idf).

    Its regularisation is the best of `STRENGTHS` on the validation part.
    """
    fits = [
        make_pipeline(
            TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True),
            LogisticRegression(C=strength, max_iter=1000),
        ).fit(*_columns(train))
        for strength in STRENGTHS
    ]
    return max(fits, key=lambda fit: float(fit.score(*_columns(validation))))


def _columns(texts: Sequence[Text]) -> tuple[list[str], list[str]]:
    return [text.text for text in texts], [text.language for text in texts]
