"""What data checks share: tables asked in every dialect, sides that must agree, events folded to a state."""
