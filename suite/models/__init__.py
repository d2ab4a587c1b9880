"""The models, one file a family."""
