"""What is added to a report afterwards, by the process beside the daemon; nothing here decides anything."""
