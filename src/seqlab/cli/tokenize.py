"""The verb tokenize."""

from seqlab.cli.compose import add_source_options, compose, pop_switches
from seqlab.cli.overrides import is_multirun, pop_allow
from seqlab.errors import UserError
from seqlab.files import cache_folder
from seqlab.launch.create import check_run
from seqlab.launch.plan import Planner
from seqlab.streams import print_wrapped


def main(args: list[str]) -> int:
    """Encode texts into the cache, where every run with these data and this tokenizer finds them."""
    if is_multirun(args):
        raise UserError("tokenize does one thing at a time: leave -m out.")
    jobs = compose("tokenize", add_source_options(pop_allow(args))).jobs
    if not jobs:
        return 0
    (job,) = jobs
    switches = pop_switches(job)
    for key, default in (("plan", False), ("explain", False), ("start", True)):
        if switches.get(key, default) != default:
            raise UserError(f"{key}={str(not default).lower()} has no effect: tokenize has no run. Leave it out.")
    source, _ = check_run(job)
    data = Planner().load_data(job, source)
    if not hasattr(data, "encoded"):
        raise UserError(
            f"data={job.choices['data']} is not kept as tokens in the cache: use data=text, or another text."
        )
    folder, streams, size = data.encoded
    if not folder.is_relative_to(cache_folder()):
        raise UserError(
            f"{cache_folder()} cannot be written, so that nothing is kept: name another place with SEQLAB_CACHE=<folder>."
        )
    vocabulary = data.tokenizer.vocab_size
    print_wrapped(f"texts       {size.documents:,} document{'s' * (size.documents != 1)}, {size.bytes:,} bytes")
    print_wrapped(f"tokens      {', '.join(f'{len(stream):,} {split}' for split, stream in streams.items())}")
    total = sum(len(stream) for stream in streams.values())
    print_wrapped(f"bytes       {size.bytes / total:.2f} a token, of a vocabulary of {vocabulary:,}")
    print_wrapped(f"kept in     {folder}")
    return 0
