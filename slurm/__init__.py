"""Where a grid runs: clusters, submissions and the state of every cell."""
