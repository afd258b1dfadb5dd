"""The command line: `seqlab <verb> key=value …`."""

from seqlab.cli.main import main

__all__ = ["main"]
