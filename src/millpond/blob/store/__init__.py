"""The rows of the Blob service in SQL. It keeps them and knows no rule about them."""

from .connections import bring_up_to_date
from .store import Store
from .transaction import NOTHING_MORE, Shown, Transaction
from .writer import Work, Writer, Writes

__all__ = ["NOTHING_MORE", "Shown", "Store", "Transaction", "Work", "Writer", "Writes", "bring_up_to_date"]
