"""Replays the past through the daemon's own seats: how often it would be wrong, and what it would miss.

`run.backtest` composes the parts: reading (`reading`, `openmetrics`, `deploylog`), deploys that never
happened (`placebo`), effects put into them (`injection`), the replay of one deploy (`trial`) in several
processes (`pool`), and what follows from all of them (`decisions`, `summary`, `suggestions`) in a `report`.
"""
