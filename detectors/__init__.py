"""JUDGES: numpy in, evidence out. No clock, no I/O, no logging, no asyncio.

`judge.DeployJudge` judges one deploy, `replay.replay` judges again from a packet, `recovery.recovered` tells
whether a rollback helped, `packet.decode_array` reads the samples in a packet.
"""

from __future__ import annotations
