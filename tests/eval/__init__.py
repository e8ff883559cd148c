"""How good the detectors are: clean traces, damaged in known ways, and what `traced analyze` says of them, against the truth.

    .venv/bin/python -m tests.eval.eval [--only WORLD/DAMAGE] [--list] [--seed 7] [--worst N] [--format markdown]

The path of the data: `blueprint` and `worlds_*` describe systems, `simulation` plays them to spans, `real_sets` reads real ones;
`damage_*` takes spans away or changes them and notes what it did; `truth_*` derives from both what is to be reported;
`running` asks `traced`, `scoring` compares, `report` prints.
"""
