"""From a running Prometheus to a first configuration: what its metrics mean, by convention.

asking.py (what is there) -> proposing.py (what of it is judged, and why) -> writing.py (YAML with comments).
"""
