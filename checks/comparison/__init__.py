"""Two stores compared: what the kind `reconcile` is made of, split by what changes for its own reasons.

looks.py       what a look saw, and the time of a run
queries.py     looks at two queries
tables.py      looks at two tables inside their databases, and what is kept between runs
parts.py       a whole table read part by part
rows.py        what the rows and checksums of two tables say
agreement.py   which columns are compared, and as what
statements.py  the SQL of one side; engines/ how each engine writes it
"""
