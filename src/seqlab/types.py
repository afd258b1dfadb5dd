"""Types with a range, to be written beside the keyword they are for: `def __init__(self, hidden_size: PositiveInt)`.

They are plain `int` and `float` for a type checker; `config.signatures` reads the range.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**63)]  # torch takes no larger one
Fraction = Annotated[float, Ge(0), Lt(1)]  # a dropout rate, the share of a split
Probability = Annotated[float, Gt(0), Le(1)]  # top_p
Penalty = Annotated[float, Ge(0.1), Le(10)]  # of tokens that stand there already; far from it logits overflow
