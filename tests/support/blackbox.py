"""A real blackbox_exporter, and how to ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.support.servers import binary, free_port, is_listening, running

# Metric name and its labels to its value.
Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextmanager
def blackbox_exporter(folder: Path, modules: Mapping[str, Any]) -> Iterator[str]:
    """Base URL of an exporter with these modules; `blackbox.yml` is in the folder."""
    program = binary("prometheus-blackbox-exporter", "prometheus-blackbox-exporter")
    port = free_port()
    # YAML 1.2 contains JSON.
    (folder / "blackbox.yml").write_text(json.dumps({"modules": modules}))
    command = [
        program,
        f"--config.file={folder / 'blackbox.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with running(command, ready=lambda: is_listening(port), log=folder / "blackbox.log"):
        yield f"http://127.0.0.1:{port}"


def probed(url: str, module: str, target: str) -> Page:
    """What `/probe` of an exporter says, or of whatever answers like one."""
    with urlopen(f"{url}/probe?{urlencode({'module': module, 'target': target})}", timeout=20) as answer:
        return page(answer.read().decode())


def page(text: str) -> Page:
    """Every sample of a page in the Prometheus text format."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
