"""The client library's own tests, run live against Millpond's Blob service and against Azurite.

``python -m tests.conformance`` downloads the source distribution of ``azure-storage-blob``, runs the tests in it
unmodified, and compares what the two services pass. ``shim`` stands in for the test support that the tests import and
that no registry carries.
"""
