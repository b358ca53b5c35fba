"""Runs of any system with each combination of some values of config fields.

`grid` lists the runs, `runs` trains them, `table` writes their results, `programs`
shares compiled programs, `launcher` reads the flags. The systems' launchers are
`mtl.sweep`, `structured.sweep` and `l3spot.sweep`.
"""
