"""A real nginx for tests, in the foreground, as whoever runs the test.

servers = "server { listen 127.0.0.1:8080; return 200 ok; }"
with nginx_server(tmp_path_factory.mktemp("nginx"), servers, port=8080):
    ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import binary, is_listening, running

_CONFIGURATION = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
worker_processes 1;
{user}events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


@contextmanager
def nginx_server(folder: Path, servers: str, *, port: int) -> Iterator[None]:
    """nginx with these `server` blocks, ready when `port` takes connections."""
    nginx = binary("nginx", "nginx-light")
    file = folder / "nginx.conf"
    user = "user root;\n" if folder.owner() == "root" else ""
    file.write_text(_CONFIGURATION.format(folder=folder, servers=servers, user=user))
    command = [nginx, "-p", str(folder), "-c", str(file), "-e", "stderr"]
    with running(command, ready=lambda: is_listening(port), log=folder / "nginx.log"):
        yield
