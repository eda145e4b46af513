"""``millpond blob``: blobs from the command line, of this server and of any other Azure Blob Storage."""
