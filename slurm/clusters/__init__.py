"""One file a cluster."""
