"""What a running Prometheus tells people: a first configuration, and whether the queries of one find data.

A first configuration: asking.py (what is there) -> proposing.py (what of it is judged, and why, by the tables
of conventions.py) -> writing.py (YAML with comments). online.py asks each query of a configuration; client.py
is the one client of both.
"""
