"""Pretraining on text."""

from seqlab.tasks.language import LanguageModeling


class Pretraining(LanguageModeling):
    """Every token of the text is a target."""

    has_unscored = False
