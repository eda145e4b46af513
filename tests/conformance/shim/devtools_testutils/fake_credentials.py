"""Stand-ins for keys, which settings from the environment replace."""

STORAGE_ACCOUNT_FAKE_KEY = ""
