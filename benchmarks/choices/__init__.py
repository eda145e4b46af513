"""Measurements behind ``docs/decisions``: each is a program of its own, run when its choice is looked at again."""
