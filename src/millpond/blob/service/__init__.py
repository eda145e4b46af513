"""The rules of the Blob service, each stated once.

Every rule is a function of a :class:`~millpond.blob.store.Transaction`: it reads, decides, writes, and raises a
:class:`~millpond.common.errors.ServiceError` where the request may not be done. It knows no HTTP and opens no file.
"""
