"""Certificates made for a test, and a TLS terminator in front of a server that speaks none."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import select
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.promises.faults.rig import BOUND

DAY = datetime.timedelta(days=1)
_MAY_SIGN = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
_BEAT = 0.05  # seconds between two looks at whether it is over


class Authority:
    """A certificate authority in a folder; `path` is its own certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.path = folder / f"{name}.pem"
        subject = _named(name)
        made = self._about(subject, self._key, -DAY, 30 * DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(_MAY_SIGN, critical=True)
        self.path.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, host: str, *, since: datetime.timedelta = -DAY, until: datetime.timedelta = DAY) -> tuple[str, str]:
        """The paths of a certificate for `host` and of its key; times are from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        made = self._about(_named(host), key, since, until)
        made = made.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        stem = self._folder / f"{self._name}-{host}-{until.days}"
        certificate, private = stem.with_suffix(".crt"), stem.with_suffix(".key")
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        form, cipher = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, cipher))
        return str(certificate), str(private)

    def _about(self, subject: x509.Name, key: Any, since: Any, until: Any) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_named(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            # Python 3.13 and newer verify strictly (RFC 5280): without these two they refuse a certificate
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Terminator:
    """Takes TLS connections on a port of its own and hands their bytes to the server on `upstream`, and back.

    With `client_authority`, only clients that show a certificate of it. A thread for each connection.
    """

    def __init__(self, upstream: int, certificate: tuple[str, str], client_authority: Path | None = None) -> None:
        self._upstream = upstream
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        if client_authority is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(client_authority)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.handshakes = self.refusals = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(BOUND)

    def _accept(self) -> None:
        with self._listener:
            self._listener.settimeout(_BEAT)
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = self._listener.accept()
                    thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(BOUND)
        with client:
            try:
                ours = self._context.wrap_socket(client, server_side=True)
            except OSError:
                self.refusals += 1
                return
            self.handshakes += 1
            with ours, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._upstream)) as theirs:
                self._pump(ours, theirs)

    def _pump(self, ours: ssl.SSLSocket, theirs: socket.socket) -> None:
        while not self._over.is_set():
            ready = [ours] if ours.pending() else select.select([ours, theirs], [], [], _BEAT)[0]
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                (theirs if source is ours else ours).sendall(data)
