"""Below HTTP: reaching a host and a port, whom TLS trusts, and what its handshake and certificates say."""
