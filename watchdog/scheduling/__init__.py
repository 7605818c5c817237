"""When things are due, and the queues between that and the work."""
