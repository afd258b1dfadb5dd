"""Instruction tuning."""

from seqlab.tasks.language import LanguageModelling


class InstructionTuning(LanguageModelling):
    """The data mask what is not supervised: padding, and with `data.mask_prompt` the prompts."""
