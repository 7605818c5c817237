"""What the daemon costs and how fast it is, each figure measured here and now: `make bench`."""
