"""`python -m seqlab.start <run folder>`: the command that ranks and jobs repeat."""

import sys

from seqlab.launch.run import main

if __name__ == "__main__":
    sys.exit(main())
