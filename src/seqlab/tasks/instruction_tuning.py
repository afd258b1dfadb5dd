"""Instruction tuning."""

from seqlab.tasks.language import LanguageModeling


class InstructionTuning(LanguageModeling):
    """The data mask what is not supervised: padding, and what `data.supervised` leaves out."""
