"""Every cell of a table of experiments, with several seeds, in few compiled programs.

`grid` says which runs there are, `sweep` trains many at once, `results` keeps what they
came to, `cells`, `statistics`, `claims` and `report` make of it what a paper says.
"""
