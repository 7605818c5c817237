"""Where judges sit: one seat per open watch, fed step by step."""
