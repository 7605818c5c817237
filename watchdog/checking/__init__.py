"""Running checks: in time, contained, and knowing when this machine is the sick one."""
