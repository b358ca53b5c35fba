"""Every cell of a table of experiments, with several seeds, in few compiled programs.

`grid` says which runs there are, `sweep` trains many at once, `results` keeps what they
came to, `statistics`, `claims`, `tables` and `figures` make of it what a paper says.
"""
