"""The rows of the Blob service in SQL. It keeps them and knows no rule about them."""

from .store import Store
from .transaction import NOTHING_MORE, Shown, Transaction

__all__ = ["NOTHING_MORE", "Shown", "Store", "Transaction"]
