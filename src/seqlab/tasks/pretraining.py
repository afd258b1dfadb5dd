"""Pretraining on text."""

from seqlab.tasks.language import LanguageModelling


class Pretraining(LanguageModelling):
    """Every token of the text is a target."""
