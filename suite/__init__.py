"""What is benchmarked: the nouns and their entries. Python's standard library only."""
