"""Every method of azure-storage-blob 12, called by a program of its time. What it needs comes by the environment: see
``common``."""

import account  # noqa: F401
import append_blobs  # noqa: F401
import batches  # noqa: F401
import blobs  # noqa: F401
import block_blobs  # noqa: F401
import containers  # noqa: F401
import encryption  # noqa: F401
import history  # noqa: F401
import leases  # noqa: F401
import lists  # noqa: F401
import page_blobs  # noqa: F401
import signatures  # noqa: F401
import tags  # noqa: F401
import time_passes  # noqa: F401
from common import checks

checks.run()
