"""DESCRIBES: what a configuration may say, and loading one with every error found in one go."""

from config.errors import ConfigError, Problem
from config.exporting import json_schema
from config.loading import Loaded, load
from config.schema import Kinds, Settings

__all__ = ["ConfigError", "Kinds", "Loaded", "Problem", "Settings", "json_schema", "load"]
