"""Deploy events in, canonical deploys and their watches out."""
