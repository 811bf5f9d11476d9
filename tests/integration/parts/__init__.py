"""Real parts for the tests, started privately: PostgreSQL clusters, Caddy, HTTP backends and a load."""
