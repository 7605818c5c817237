"""What must survive a crash: the Store protocol and its implementations."""
