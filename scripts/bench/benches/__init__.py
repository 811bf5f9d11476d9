"""One file a bench; each registers itself."""
