"""Others that do some of the same work."""
