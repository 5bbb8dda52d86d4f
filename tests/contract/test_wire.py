"""Nobody gets in who cannot read the run folder."""

from __future__ import annotations

import asyncio
import socket
import ssl
import stat
from pathlib import Path

import pytest
from distributed import Client
from distributed.security import Security

from tbss_hpc.cluster.certificate import ensure_certificate, remove_certificate
from tbss_hpc.store.folder import RunFolder
from tbss_hpc.worker import wire
from tests.contract.rig import Rig, rig

#: What refusal looks like, by whoever notices first; never a working connection.
REFUSED = (OSError, ssl.SSLError, RuntimeError, TypeError)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "other")
    made.create()
    ensure_certificate(made)
    return made


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def knock(r: Rig, security: Security | None, protocol: str = "tls") -> str:
    """Try to become a client of a run's scheduler; say what comes of it."""

    async def body() -> str:
        address = r.dispatcher.address.replace("tls", protocol)
        client = Client(
            address, security=security, asynchronous=True, timeout=2, set_as_default=False
        )
        try:
            await client
            return str(await client.submit(sum, [1, 2]))
        except REFUSED:
            return "refused"
        finally:
            await client.close()

    # In a thread of its own, so that the other side can refuse meanwhile.
    return asyncio.run(body())


def outcomes(folder: Path, security: Security | None, protocol: str = "tls") -> str:
    async def body() -> str:
        async with rig(folder) as r:
            before = len(r.scheduler.clients)
            answer = await asyncio.to_thread(knock, r, security, protocol)
            assert len(r.scheduler.clients) == before
            return answer

    return asyncio.run(body())


# -- who gets in ------------------------------------------------------------------------------


def test_one_who_can_read_the_run_folder_gets_in(tmp_path: Path) -> None:
    """Else the refusals below would prove nothing."""

    async def body() -> str:
        async with rig(tmp_path) as r:
            return await asyncio.to_thread(knock, r, wire.security(r.run))

    assert asyncio.run(body()) == "3"


def test_a_client_that_does_not_encrypt_is_refused(tmp_path: Path) -> None:
    assert outcomes(tmp_path, None, "tcp") == "refused"


def test_a_client_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """It trusts the run's certificate, and has none itself."""
    files = RunFolder(tmp_path / "run")
    security = Security(tls_ca_file=str(files.certificate), require_encryption=True)

    assert outcomes(tmp_path, security) == "refused"


def test_a_client_with_another_runs_certificate_is_refused(tmp_path: Path, run: RunFolder) -> None:
    assert outcomes(tmp_path, wire.security(run)) == "refused"


def test_another_runs_certificate_is_refused_even_by_one_who_trusts_ours(
    tmp_path: Path, run: RunFolder
) -> None:
    """The scheduler refuses, not only the client."""
    files = RunFolder(tmp_path / "run")
    security = Security(
        tls_ca_file=str(files.certificate),
        require_encryption=True,
        tls_client_cert=str(run.certificate),
        tls_client_key=str(run.key),
    )

    assert outcomes(tmp_path, security) == "refused"


def test_workers_listen_encrypted_as_well(tmp_path: Path) -> None:
    async def body() -> str:
        async with rig(tmp_path) as r:
            (address,) = r.scheduler.workers
            return await asyncio.to_thread(speak_plainly, address)

    assert asyncio.run(body()) in {"closed", "ConnectionResetError"}


def speak_plainly(address: str) -> str:
    host, _, port = address.removeprefix("tls://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        try:
            plain.sendall(b"\0" * 64)
            answer = plain.recv(64)
            # A TLS alert at most, and then the end.
            while answer and answer[0] == ssl_alert():
                answer = plain.recv(64)
        except OSError as error:
            return type(error).__name__
    return answer.decode("latin1") or "closed"


def ssl_alert() -> int:
    return 21


# -- the certificate --------------------------------------------------------------------------


def test_the_certificate_passes_the_strictest_check(run: RunFolder) -> None:
    """From Python 3.13 on VERIFY_X509_STRICT is the default."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    for context in (server, client):
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(run.certificate, run.key)
        context.load_verify_locations(run.certificate)
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(there, here, server_side=True), client.wrap_bio(here, there)]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue

    assert [bool(end.getpeercert()) for end in ends] == [True, True]


def test_key_and_certificate_are_the_owners_alone(run: RunFolder) -> None:
    assert (mode(run.tls), mode(run.key), mode(run.certificate)) == ("0o700", "0o600", "0o600")
    assert sorted(path.name for path in run.tls.iterdir()) == ["run.crt", "run.key"]


def test_a_later_controller_uses_the_same_pair(run: RunFolder) -> None:
    before = run.certificate.read_bytes()
    ensure_certificate(run)

    assert run.certificate.read_bytes() == before


def test_no_key_is_left_when_the_run_is_over(run: RunFolder) -> None:
    remove_certificate(run)

    assert not run.tls.exists()


def test_dask_takes_the_files_that_we_name(run: RunFolder) -> None:
    """A renamed option of `Security` would leave a role without a certificate."""
    security = wire.security(run)
    for role in ("scheduler", "worker", "client"):
        found = security.get_tls_config_for_role(role)

        assert found["cert"] == str(run.certificate)
        assert found["key"] == str(run.key)
        assert found["ca_file"] == str(run.certificate)
    assert security.require_encryption
