"""The run's own certificate: whoever can read it belongs to the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tbss_hpc.store.atomic import replace_file
from tbss_hpc.store.folder import RunFolder

#: Longer than any run, and clocks of nodes may differ.
LIFETIME = timedelta(days=365)
SKEW = timedelta(days=1)


def ensure_certificate(run: RunFolder) -> None:
    """Make key and certificate if the run has none; the certificate comes last.

    A later controller of the same run uses the same pair, so that workers find their way back.
    """
    if run.certificate.exists():
        return
    run.tls.mkdir(mode=0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    replace_file(run.key, pem, mode=0o600)
    certificate = _self_signed(key).public_bytes(serialization.Encoding.PEM)
    replace_file(run.certificate, certificate, mode=0o600)


def remove_certificate(run: RunFolder) -> None:
    """Leave no key behind when the run is over."""
    for path in (run.certificate, run.key):
        path.unlink(missing_ok=True)
    if run.tls.is_dir():
        run.tls.rmdir()


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tbss-hpc run")])
    now = datetime.now(UTC)
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    # The extensions that Python 3.13's stricter check of certificates asks for.
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
