"""OpenID Connect provider: discovery, authorization code flow with PKCE, and checks of the ID token.

Nothing that the provider sends is believed before its signature, issuer, audience, times and nonce are checked. Every
call is bounded in time and size and follows no redirect; errors are for the log, and hold no code, token or secret.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote_plus

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from authlib.oauth2.rfc6749.parameters import prepare_token_request
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ValidationError

from services.console.credentials import Role
from services.console.oidc_settings import OidcSettings, is_protected
from shared.runtime.bounded_decompression import ContentCodingError, decoded
from shared.runtime.call_deadline import CallDeadline
from shared.runtime.trusted_certificates import trusted_certificates
from shared.runtime.visible_text import visible

#: Signatures by public key alone: with HS256 the public key could be taken for a secret.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
#: How far the provider's clock may be from ours.
LEEWAY_SECONDS: Final = 60
TIMEOUT: Final = httpx.Timeout(4, connect=3)
WITHIN_SECONDS: Final = 5.0
LIMIT_BYTES: Final = 256 * 1024
#: Calls to the provider at once. A further one fails without a wait: the other threads serve signed-in people.
MAX_CALLS: Final = 4
#: How long the discovery document and the keys are used, and how long a failed read is cached.
FRESH_SECONDS: Final = 3600.0
FAILED_SECONDS: Final = 10.0
#: A token that names an unknown key has them read again, no more often than this.
NEW_KEYS_SECONDS: Final = 10.0
MAX_NAME_LENGTH: Final = 64

T = TypeVar("T")


class ProviderUnavailableError(Exception):
    """The provider does not answer, or nothing that can be used."""


class ClientRefusedError(Exception):
    """The provider does not accept this console: a setting here or there is wrong."""


class SignInRefusedError(Exception):
    """The provider's answer does not sign anybody in."""


class Metadata(BaseModel):
    """Required fields of the discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        needed = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)
        return (*needed, *filter(None, (self.userinfo_endpoint, self.end_session_endpoint)))


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in; the id stays the same when the name changes. `role` is None where no group opens the console."""

    name: str
    id: str
    role: Role | None
    #: How many values the claim of roles has.
    groups: int


class _Remembered(Generic[T]):
    """A document of the provider, read again when it is old; a failure counts for a while, too."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None
        self._failure: tuple[float, ProviderUnavailableError] | None = None

    def get(self, fresh_seconds: float = FRESH_SECONDS) -> T:
        with self._lock:
            kept, failure, now = self._kept, self._failure, time.monotonic()
        if kept and now - kept[0] < fresh_seconds:
            return kept[1]
        if failure and now - failure[0] < FAILED_SECONDS:
            raise ProviderUnavailableError(*failure[1].args)
        try:
            value = self._read()
        except ProviderUnavailableError as error:
            with self._lock:
                self._failure = time.monotonic(), error
            raise
        with self._lock:
            self._kept, self._failure = (time.monotonic(), value), None
        return value


class Provider:
    """The provider of the settings, as one process sees it."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=False, verify=trusted_certificates())
        self._calls = threading.BoundedSemaphore(MAX_CALLS)
        self._metadata = _Remembered(self._read_metadata)
        self._keys = _Remembered(self._read_keys)

    def metadata(self) -> Metadata:
        """The discovery document. Raises ProviderUnavailableError."""
        return self._metadata.get()

    def keys(self) -> KeySet:
        """The provider's public keys. Raises ProviderUnavailableError."""
        return self._keys.get()

    def authorization_address(self, state: str, nonce: str, verifier: str, **more: str) -> str:
        """Where the browser signs in. Raises ProviderUnavailableError."""
        client = OAuth2Client(
            None,
            self.settings.client_id,
            redirect_uri=self.settings.redirect_uri,
            scope=self.settings.scopes,
            code_challenge_method="S256",
        )
        address, _ = client.create_authorization_url(
            self.metadata().authorization_endpoint, state=state, code_verifier=verifier, nonce=nonce, **more
        )
        return str(address)

    def end_session_address(self) -> str | None:
        """Where the provider ends its own session; None where it announces no such address, or is away."""
        try:
            endpoint = self.metadata().end_session_endpoint
        except ProviderUnavailableError:
            return None
        # no `id_token_hint`: the console keeps no ID token
        given = {"client_id": self.settings.client_id, "post_logout_redirect_uri": self.settings.left_uri}
        return str(httpx.URL(endpoint).copy_merge_params(given)) if endpoint else None

    def check_sender(self, issuer: str | None) -> None:
        """The answer's parameter `iss` (RFC 9207) names this provider. Raises SignInRefusedError."""
        is_missing = issuer is None and self.metadata().authorization_response_iss_parameter_supported
        if is_missing or (issuer is not None and issuer != self.settings.issuer):
            raise SignInRefusedError("the answer's parameter iss does not name the issuer")

    def redeem(self, code: str, verifier: str, nonce: str) -> Person:
        """The person of an authorization code.

        Raises SignInRefusedError, ClientRefusedError and ProviderUnavailableError.
        """
        answer = self._redeem(code, verifier)
        id_token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(id_token, str) or not isinstance(access_token, str):
            raise SignInRefusedError("the token endpoint gave no ID token, or no access token")
        claims = self._verified(id_token, access_token, nonce)
        userinfo = self.metadata().userinfo_endpoint
        if userinfo and not (self.settings.has_roles(claims) and self._name_of(claims)):
            claims = self._merged(claims, self._userinfo(userinfo, access_token, claims["sub"]))
        return self._person(claims)

    def _merged(self, claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
        """The ID token's claims before those of userinfo, except for null and for a claim of roles without roles."""
        empty = None if self.settings.has_roles(claims) else self.settings.roles_claim.partition(".")[0]
        return {**userinfo, **{name: value for name, value in claims.items() if value is not None and name != empty}}

    def _redeem(self, code: str, verifier: str) -> Mapping[str, Any]:
        known, settings = self.metadata(), self.settings
        body = prepare_token_request(
            "authorization_code", redirect_uri=settings.redirect_uri, code=code, code_verifier=verifier
        )
        client, method = (settings.client_id, settings.client_secret), "client_secret_post"
        if "client_secret_basic" in known.token_endpoint_auth_methods_supported:
            # RFC 6749, 2.3.1: a colon or a percent sign would be read as something else
            client, method = (quote_plus(client[0]), quote_plus(client[1])), "client_secret_basic"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        address, headers, body = ClientAuth(*client, method).prepare("POST", known.token_endpoint, headers, body)
        status, answer = self._call("the token endpoint", "POST", address, headers=headers, content=body)
        if status == httpx.codes.OK:
            return answer
        error = visible(str(answer.get("error")))[:60]
        if error == "invalid_grant":
            raise SignInRefusedError("the token endpoint refuses the code: invalid_grant")
        raise ClientRefusedError(f"the token endpoint answered {status}: {error}")

    def _verified(self, id_token: str, access_token: str, nonce: str) -> dict[str, Any]:
        options = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},
            "sub": {"essential": True},
        }
        given = {"nonce": nonce, "client_id": self.settings.client_id, "access_token": access_token}
        try:
            token = self._decode(id_token)
            claims = CodeIDToken(token.claims, token.header, options, given)
            claims.validate(leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise SignInRefusedError(f"the ID token is not valid: {visible(str(error))[:120]}") from None
        return dict(claims)

    def _decode(self, id_token: str) -> jwt.Token:
        # other header parameters than those of JWS are allowed, except for critical ones
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            return jwt.decode(id_token, self.keys(), registry=registry)
        except InvalidKeyIdError:
            return jwt.decode(id_token, self._keys.get(NEW_KEYS_SECONDS), registry=registry)

    def _userinfo(self, address: str, access_token: str, subject: str) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, answer = self._call("the userinfo endpoint", "GET", address, headers=headers)
        if status != httpx.codes.OK:
            raise ProviderUnavailableError(f"the userinfo endpoint answered {status}")
        if answer.get("sub") != subject:
            raise SignInRefusedError("the userinfo endpoint described somebody else than the ID token")
        return answer

    def _person(self, claims: Mapping[str, Any]) -> Person:
        person_id = _id_of(self.settings.issuer, claims["sub"])
        name, settings = self._name_of(claims) or person_id, self.settings
        return Person(name, person_id, settings.role_of(claims), len(settings.groups_of(claims)))

    def _name_of(self, claims: Mapping[str, Any]) -> str:
        """Empty where the claims have no name."""
        names = (claims.get(name) for name in (self.settings.name_claim, "preferred_username"))
        written = (_printable(name) for name in names if isinstance(name, str))
        return next(filter(None, written), "")

    def _read_metadata(self) -> Metadata:
        address = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = self._document("discovery", address)
        try:
            found = Metadata.model_validate(document)
        except ValidationError as error:
            missing = ", ".join(sorted({str(one["loc"][0]) for one in error.errors(include_input=False)}))
            raise ProviderUnavailableError(f"discovery: the document lacks or misuses {missing}") from None
        if found.issuer != self.settings.issuer:
            raise ProviderUnavailableError(
                f"discovery: the issuer there is {visible(found.issuer)[:200]}; NOUBA_CONSOLE_OIDC_ISSUER has to be "
                "the same, character by character"
            )
        is_local = self.settings.issuer.startswith("http://")
        for endpoint in found.addresses:
            if not is_protected(endpoint) or (endpoint.startswith("http://") and not is_local):
                raise ProviderUnavailableError(f"discovery: {visible(endpoint)[:200]} is not https")
        return found

    def _read_keys(self) -> KeySet:
        listed = self._document("jwks", self.metadata().jwks_uri).get("keys")
        found = [_public_key(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        if not (keys := [key for key in found if key is not None]):
            raise ProviderUnavailableError("jwks: no key there can verify a signature")
        return KeySet([*keys])

    def _document(self, name: str, address: str) -> Mapping[str, Any]:
        status, answer = self._call(name, "GET", address, headers={"Accept": "application/json"})
        if status != httpx.codes.OK:
            raise ProviderUnavailableError(f"{name}: answered {status}")
        return answer

    def _call(self, name: str, method: str, address: str, **request: Any) -> tuple[int, Mapping[str, Any]]:
        """The status and the JSON object of the answer; the object is empty where the answer has another body."""
        if not self._calls.acquire(blocking=False):
            raise ProviderUnavailableError(f"{name}: {MAX_CALLS} calls are waiting for the provider already")
        try:
            with CallDeadline(WITHIN_SECONDS) as deadline:
                return self._read(name, method, address, deadline, request)
        except (httpx.HTTPError, httpx.InvalidURL, ContentCodingError) as error:
            # the error's own words may hold the address
            raise ProviderUnavailableError(f"{name}: no answer ({type(error).__name__})") from None
        finally:
            self._calls.release()

    def _read(
        self, name: str, method: str, address: str, deadline: CallDeadline, request: dict[str, Any]
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {**request.pop("headers"), "Connection": "close", "Accept-Encoding": "gzip"}
        body = bytearray()
        extensions = {"trace": deadline.trace}
        with self._client.stream(method, address, headers=headers, extensions=extensions, **request) as response:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
                raise ProviderUnavailableError(f"{name}: answered {response.status_code}")
            for piece in decoded(response.headers.get("Content-Encoding", ""), response.iter_raw(), LIMIT_BYTES):
                body += piece
                if len(body) > LIMIT_BYTES or deadline.is_passed:
                    raise ProviderUnavailableError(f"{name}: more than {LIMIT_BYTES} bytes, or for too long")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            if response.status_code == httpx.codes.OK:
                raise ProviderUnavailableError(f"{name}: the answer is no JSON object")
            answer = {}
        return response.status_code, answer


def _public_key(listed: dict[str, Any]) -> RSAKey | ECKey | None:
    """A key that can verify; None for those of other kinds and uses, which stand beside it."""
    kinds: dict[str, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    kind = kinds.get(str(listed.get("kty")))
    if kind is None or listed.get("use", "sig") != "sig":
        return None
    try:
        return kind.import_key(listed)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _id_of(issuer: str, subject: str) -> str:
    """What audit log and logs call a person. Slow to make: a subject may be an address of mail, and guessed by it."""
    salt = b"nouba console oidc\0" + issuer.encode()
    return "oidc:" + hashlib.scrypt(subject.encode(), salt=salt, n=2**14, r=8, p=1, dklen=8).hex()


def _printable(name: str) -> str:
    """At most 64 characters, without what turns text around or breaks a line."""
    kept = "".join(letter if letter.isprintable() else " " for letter in name[: 4 * MAX_NAME_LENGTH])
    return " ".join(kept.split())[:MAX_NAME_LENGTH].strip()
