"""Hostile clients, the healthy ones beside them, and what is seen of the server meanwhile."""
