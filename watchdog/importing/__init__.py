"""Moving in: the files of other probe daemons as an equivalent configuration, and what has no equivalent."""
