"""Trouble without a deploy: what is noticed between deploys, and what people are told of it."""
