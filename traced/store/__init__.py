"""Keeps spans and logs within its bounds and answers named queries."""
