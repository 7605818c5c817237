"""A certificate authority for tests, made with openssl.

authority = Authority.create(tmp_path_factory.mktemp("ca"))
shop = authority.issue("shop.test", names=["DNS:shop.test", "IP:127.0.0.1"], days=30)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.servers import binary, completed

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_CONFIGURATION = """\
[ca]
default_ca = here
[here]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
copy_extensions = copy
policy = any
[any]
organizationName = optional
commonName = supplied
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, with its chain below the root, and its key: two files in PEM."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates; `ca` is the file that a client has to trust."""

    folder: Path
    ca: Path
    signer: Pair

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """A new root; skips where openssl is not installed."""
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(_CONFIGURATION.format(folder=folder))
        root = Pair(folder / "root.pem", folder / "root.key")
        _openssl(
            *("req", "-x509", *_CURVE, "-nodes", "-subj", "/CN=Test root", "-days", "3650"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-keyout", root.key, "-out", root.cert),
        )
        return cls(folder, root.cert, root)

    def issue(
        self,
        name: str,
        *,
        names: Sequence[str] = (),
        days: float = 90.0,
        extensions: Sequence[str] = (),
        pass_phrase: str = "",
    ) -> Pair:
        """A certificate that expires in `days`, or expired before. names: `DNS:name` or `IP:address`."""
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request = self.folder / f"{name}.csr"
        wanted = [f"subjectAltName={','.join(names)}"] if names else []
        added = [word for extension in (*wanted, *extensions) for word in ("-addext", extension)]
        locked = ("-passout", f"pass:{pass_phrase}") if pass_phrase else ("-nodes",)
        _openssl(
            *("req", *_CURVE, *locked, "-subj", f"/O=Shop/CN={name}", *added),
            *("-keyout", pair.key, "-out", request),
        )
        end = datetime.now(UTC) + timedelta(days=days)
        _openssl(
            *("ca", "-batch", "-notext", "-config", self.folder / "ca.cnf", "-in", request),
            *("-startdate", _written(end - timedelta(days=3650)), "-enddate", _written(end)),
            *("-cert", self.signer.cert, "-keyfile", self.signer.key, "-out", pair.cert),
        )
        if self.signer.cert != self.ca:
            pair.cert.write_bytes(pair.cert.read_bytes() + self.signer.cert.read_bytes())
        return pair

    def intermediate(self, name: str, *, days: float) -> Authority:
        """An authority below this one, whose certificate expires in `days`."""
        signer = self.issue(name, days=days, extensions=["basicConstraints=critical,CA:TRUE"])
        return Authority(self.folder, self.ca, signer)


def _written(moment: datetime) -> str:
    return f"{moment:%Y%m%d%H%M%SZ}"


def _openssl(*words: str | Path) -> None:
    completed([binary("openssl", "openssl"), *words])
