"""Every cell of a table of experiments, with several seeds, in few compiled programs.

`grid` lists the runs, `prepared` makes their inputs, `trainer` trains many at once, and
`results` reads and writes their rows. `cells`, `statistics`, `claims` and `report` make
tables, tests and figures.
"""
