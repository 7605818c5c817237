"""The language of `expect`: CEL that fails on what is absent and shows what it looked at."""
