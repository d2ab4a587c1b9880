"""Recipes, one file a method."""
