"""The rows of the Blob service in SQL. It keeps them and knows no rule about them."""

from .store import Store
from .transaction import Transaction

__all__ = ["Store", "Transaction"]
