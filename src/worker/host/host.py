"""The Python host."""
