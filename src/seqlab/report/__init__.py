"""Reports: the runs of a sweep as rows, ranked, and as files and figures."""
