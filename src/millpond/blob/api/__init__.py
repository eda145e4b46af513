"""The Blob service's HTTP: requests in, answers out. The rules are in ``service``."""
