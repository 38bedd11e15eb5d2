"""Tests that need hardware; each skips with its reason and the command that runs it there."""
