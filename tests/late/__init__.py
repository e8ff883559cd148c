"""Late spans change nothing in the end: a run of which a tenth of the batches come late ends with the findings of one where none does.

    PYTHONPATH=tests .venv/bin/python -m late.late [--only WORLD/DAMAGE] [--seed 7] [--delays 1 2 3] [--restart]

The path of the data: `exports` makes of a set of the evaluation the batches that processes send, and delays some; `running` is the daemon's store
and analysis under a clock that is set; `comparison` says what differs; `late` says which sets, and prints it.
"""
