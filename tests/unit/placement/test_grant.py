"""Join tokens, proofs and link digests: bytes that two sides agree on."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from cellplane.cell.problem import Invalid
from cellplane.runtime.grant import derive_key, is_proof, new_token, parse_token, proof
from cellplane.runtime.linkdigest import DigestedObject, objects_digest, root_digest


def test_a_token_reads_back_and_hides_its_secret() -> None:
    """A token is its text, and its repr does not hold the secret."""
    token = new_token("first")
    assert parse_token(f" {token}\n") == token
    assert token.secret not in repr(token)


@pytest.mark.parametrize("text", ["", "first", "first.short", "First." + "a" * 43, "." + "a" * 43])
def test_what_is_no_token_is_refused_without_being_repeated(text: str) -> None:
    """The error never shows what was given, as it might be a secret."""
    with pytest.raises(Invalid) as caught:
        parse_token(text)
    assert "aaa" not in caught.value.message


def test_a_proof_is_the_documented_bytes() -> None:
    """HMAC-SHA256 of two raw digests and the UID."""
    key = derive_key("s" * 43)
    made = proof(key, certificate_request_pem=b"csr", authority_pem=b"ca", cluster_uid="uid")
    message = hashlib.sha256(b"csr").digest() + hashlib.sha256(b"ca").digest() + b"uid"
    assert made == hmac.digest(key, message, "sha256")
    assert derive_key("s" * 43).hex() == key.hex()
    assert len(key) == 32


@pytest.mark.parametrize(
    "change",
    [{"certificate_request_pem": b"other"}, {"authority_pem": b"other"}, {"cluster_uid": "other"}],
)
def test_a_proof_is_for_one_request_authority_and_cluster(change: dict[str, object]) -> None:
    """Each part is bound."""
    key = derive_key("s" * 43)
    parts: dict[str, object] = {
        "certificate_request_pem": b"csr",
        "authority_pem": b"ca",
        "cluster_uid": "uid",
    }
    made = proof(key, **parts)  # type: ignore[arg-type]
    assert is_proof(made, key, **parts)  # type: ignore[arg-type]
    assert not is_proof(made, key, **(parts | change))  # type: ignore[arg-type]


def test_digests_do_not_depend_on_order_and_nothing_is_empty() -> None:
    """Both digests sort their lines; nothing at all has the empty digest."""
    objects = [
        DigestedObject(
            api_version="v1",
            kind="Service",
            namespace="n",
            object=name,
            phase="WORKLOAD",
            part="",
            digest="00",
        )
        for name in "ab"
    ]
    assert objects_digest(objects) == objects_digest(reversed(objects))
    assert objects_digest(objects[:1]) == hashlib.sha256(b"v1 Service n a WORKLOAD  00").hexdigest()
    assert (
        root_digest([("b", 1, "x"), ("a", 2, "y")]) == hashlib.sha256(b"a 2 y\nb 1 x").hexdigest()
    )
    assert root_digest([]) == objects_digest([]) == ""
