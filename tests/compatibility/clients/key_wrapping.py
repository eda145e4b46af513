"""What clients of every age encrypt the keys of contents with."""

import os

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap


class Wrapper:
    """A key that encrypts keys, as programs have to bring one."""

    def __init__(self):
        self.key = os.urandom(32)

    def wrap_key(self, key, algorithm="A256KW"):
        return aes_key_wrap(self.key, key)

    def unwrap_key(self, key, algorithm):
        return aes_key_unwrap(self.key, key)

    def get_key_wrap_algorithm(self):
        return "A256KW"

    def get_kid(self):
        return "local:key"
