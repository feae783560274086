"""The certificates that HTTP clients trust: read once a process, since httpx reads them for each client, in 20 ms."""

import functools
import ssl

import httpx


@functools.cache
def trusted_certificates(*, trust_env: bool = True) -> ssl.SSLContext:
    """For `httpx.Client(verify=...)`: those of certifi, or with `trust_env` of SSL_CERT_FILE or SSL_CERT_DIR if set."""
    return httpx.create_ssl_context(trust_env=trust_env)
