"""The daemon as a process of its machine: log, memory and open files."""
