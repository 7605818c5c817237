"""HTTP as the kinds that speak it share it: requests, ways to a host, credentials, exchange and answer."""
