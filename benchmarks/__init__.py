"""What Millpond is measured by: ``python -m benchmarks`` (see ``--help``)."""
