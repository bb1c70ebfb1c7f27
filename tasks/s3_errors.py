"""What goes wrong with S3, each in one line that says what to do.

A wrong setting is a UserError whenever it shows. What can break by itself (network, server) is a UserError while the store is being
opened, since the endpoint is then most likely misspelt or down, and a RunError later.
"""

import re
from collections.abc import Callable

from botocore import exceptions as boto

from matrix_core.errors import RunError, UserError
from tasks.backend import MissingError

_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

_SETTINGS: dict[str, str] = {
    "NoSuchBucket": "there is no bucket {bucket}: make it, or mend --store",
    "InvalidBucketName": "the server doesn't take {bucket} as the name of a bucket: mend --store",
    "SignatureDoesNotMatch": "the secret key is wrong: check AWS_SECRET_ACCESS_KEY (or the profile)",
    "InvalidAccessKeyId": "the access key is not known there: check AWS_ACCESS_KEY_ID (or the profile)",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set AWS_REGION to it",
    "IllegalLocationConstraintException": "the bucket is in another region: set AWS_REGION to it",
    "PermanentRedirect": "the bucket is in another region: set AWS_REGION to it",
    "AccessDenied": "access is denied: allow these credentials to list, get, put and delete in {bucket}, or use others",
    "AllAccessDisabled": "access is denied: allow these credentials to list, get, put and delete in {bucket}, or use others",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the server's: set the clock (timedatectl, ntp)",
    "RequestExpired": "this machine's clock differs too much from the server's: set the clock (timedatectl, ntp)",
    "ExpiredToken": "the credentials have expired: log in again",
    "InvalidToken": "the session token is not valid: log in again, or unset AWS_SESSION_TOKEN",
}
_ALIASES = {"403": "AccessDenied", "Forbidden": "AccessDenied", "301": "PermanentRedirect", "TokenRefreshRequired": "ExpiredToken"}
_MISSING = ("NoSuchKey", "404", "NotFound")

_UNUSABLE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    ((boto.NoCredentialsError, boto.PartialCredentialsError), f"there are no credentials: {_CREDENTIALS}"),
    (boto.ProfileNotFound, "there is no such profile ({error}): check AWS_PROFILE"),
    (
        (boto.CredentialRetrievalError, boto.SSOError, boto.TokenRetrievalError, boto.RefreshWithMFAUnsupportedError),
        "the credentials can't be had ({error}): log in again",
    ),
    ((boto.ConfigParseError, boto.InvalidConfigError, boto.InvalidRegionError, boto.NoRegionError), "{error}: mend ~/.aws/config"),
    (boto.ParamValidationError, "{error}: mend --store"),
    (ValueError, "{error}: check AWS_ENDPOINT_URL_S3"),
)
_BROKEN: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (boto.SSLError, "the server's certificate is not accepted ({error}): check the endpoint and AWS_CA_BUNDLE"),
    (boto.ProxyConnectionError, "the proxy can't be reached: check HTTPS_PROXY"),
    ((boto.ConnectTimeoutError, boto.ReadTimeoutError), "no answer in time: check the network and the endpoint, then run again"),
    (
        boto.EndpointConnectionError,
        "can't connect: check the network, AWS_ENDPOINT_URL_S3, and that the server runs; then run again",
    ),
    (
        (boto.HTTPClientError, boto.IncompleteReadError, boto.ResponseStreamingError),
        "the connection broke: check the network, then run again",
    ),
)


def explained(error: Exception, place: str, endpoint: str, bucket: str, opening: bool) -> Exception:
    """The error for people that stands for one of boto3's; `place` is the URI that was being used."""
    server = re.sub(r"//[^/@]*@", "//", endpoint)

    def told(kind: Callable[[str], Exception], why: str) -> Exception:
        return kind(f"{place} at {server}: {why}")

    later = UserError if opening else RunError
    if isinstance(error, boto.ClientError):
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", "unknown"))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _MISSING:
            return MissingError(f"{place} is missing")
        code = _ALIASES.get(code, code)
        if code in _SETTINGS:
            return told(UserError, _SETTINGS[code].format(bucket=bucket))
        said = " ".join(str(answer.get("Error", {}).get("Message", "")).split())[:200]
        if status == 403:
            return told(UserError, f"access is denied ({code}: {said}): check the credentials and what they are allowed to do")
        if status >= 500 or code in ("SlowDown", "Throttling", "TooManyRequests"):
            return told(later, f"the server fails ({code}: {said}): run again in a while")
        return told(later, f"the server refuses ({code}: {said})")
    for kinds, why in _UNUSABLE:
        if isinstance(error, kinds):
            return told(UserError, why.format(error=_line(error)))
    for kinds, why in _BROKEN:
        if isinstance(error, kinds):
            return told(later, why.format(error=_line(error)))
    return told(later, f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200]
