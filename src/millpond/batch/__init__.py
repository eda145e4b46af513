"""The Batch service."""
