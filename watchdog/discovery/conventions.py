"""What people call things in Prometheus: one table each for requests, for a status, and for the rest.

A new convention is a row. The order is preference: of two rows that know a service the first one speaks, so
that a service's own numbers come before those of a proxy in front of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# The label that names the service, unless a row knows better or `--by` says so.
SERVICES = ("service", "service_name", "app", "app_kubernetes_io_name", "application", "job")
STATUSES = (
    *("http_response_status_code", "http_status_code", "status_code", "http_status", "response_code", "code"),
    *("status", "grpc_code", "grpc_status", "outcome", "result"),
)
# One service in two of these is two services, counted together.
PLACES = (
    *("environment", "env", "deployment_environment_name", "deployment_environment", "stage"),
    *("cluster", "namespace", "k8s_namespace_name", "destination_service_namespace", "exported_namespace"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Values of a status label. known: those that belong to it. failed: those that are the server's fault."""

    name: str
    known: str
    failed: str

    def knows(self, value: str) -> bool:
        """True for a value of this vocabulary."""
        return re.fullmatch(self.known, value) is not None


# Which codes of gRPC are the server's fault: OpenTelemetry's semantic conventions for RPC, "Status".
VOCABULARIES = (
    Vocabulary(name="HTTP status", known=r"[1-5](?:[0-9]{2}|xx|XX)|0|-1|other", failed="5.."),
    # Of a service that never failed only `OK` was seen, in whichever spelling the others are.
    Vocabulary(
        name="gRPC code",
        known="OK|Cancell?ed|Unknown|InvalidArgument|DeadlineExceeded|NotFound|AlreadyExists|PermissionDenied"
        "|ResourceExhausted|FailedPrecondition|Aborted|OutOfRange|Unimplemented|Internal|Unavailable|DataLoss"
        "|Unauthenticated|CANCELL?ED|UNKNOWN|INVALID_ARGUMENT|DEADLINE_EXCEEDED|NOT_FOUND|ALREADY_EXISTS"
        "|PERMISSION_DENIED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|OUT_OF_RANGE|UNIMPLEMENTED"
        "|INTERNAL|UNAVAILABLE|DATA_LOSS|UNAUTHENTICATED",
        failed="Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"
        "|UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS",
    ),
    Vocabulary(
        name="outcome",
        known="success|succeeded|ok|failure|failed|error|SUCCESS|CLIENT_ERROR|SERVER_ERROR|REDIRECTION"
        "|INFORMATIONAL",
        failed="failure|failed|error|SERVER_ERROR",
    ),
)
CLASS_DIGIT = Vocabulary(name="class of HTTP status", known="[1-5]", failed="5")
GRPC_NUMBER = Vocabulary(name="number of a gRPC code", known="[0-9]|1[0-6]", failed="2|4|12|13|14|15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How somebody counts and times requests.

    family: whole name of the counter, or of the histogram without `_bucket`, a regular expression. services,
    statuses: labels to look at first. vocabularies: of the status. unit: of the histogram's bounds. only:
    what is asked for beside the service, as a selector has it.
    """

    title: str
    family: str
    services: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    vocabularies: tuple[Vocabulary, ...] = VOCABULARIES
    unit: Literal["s", "ms"] = "s"
    only: str = ""


# The proxies' own labels name the service behind them. A Prometheus with `honor_labels: false` renames
# `service` to `exported_service`, because the proxy is a service itself.
_BEHIND = ("exported_service", "service")
_ISTIO = ("destination_canonical_service", "destination_service_name", "destination_workload")

REQUESTS = (
    Requests(title="OpenTelemetry HTTP", family="http_server_request_duration_seconds"),
    Requests(title="OpenTelemetry HTTP before 2023", family="http_server_duration_milliseconds", unit="ms"),
    Requests(title="Spring Boot", family="http_server_requests_seconds", services=("application",)),
    Requests(title="HTTP requests", family="http_requests?(?:_received)?_total"),
    Requests(title="HTTP durations", family="http_requests?_duration_seconds"),
    Requests(title="gRPC", family="grpc_server_handled_total"),
    Requests(title="gRPC durations", family="grpc_server_handling_seconds"),
    Requests(title="gRPC of OpenTelemetry", family="grpc_server_call_duration_seconds"),
    Requests(
        title="OpenTelemetry RPC",
        family="rpc_server_duration_milliseconds",
        statuses=("rpc_grpc_status_code",),
        vocabularies=(GRPC_NUMBER,),
        unit="ms",
    ),
    # Client and server both report each request.
    Requests(title="Istio", family="istio_requests_total", services=_ISTIO, only='reporter="destination"'),
    Requests(
        title="Istio durations",
        family="istio_request_duration_milliseconds",
        services=_ISTIO,
        only='reporter="destination"',
        unit="ms",
    ),
    Requests(
        title="nginx ingress",
        family="nginx_ingress_controller_requests",
        services=(*_BEHIND, "ingress"),
    ),
    Requests(
        title="nginx ingress durations",
        family="nginx_ingress_controller_request_duration_seconds",
        services=(*_BEHIND, "ingress"),
    ),
    Requests(title="Traefik", family="traefik_service_requests_total", services=_BEHIND),
    Requests(title="Traefik durations", family="traefik_service_request_duration_seconds", services=_BEHIND),
    Requests(
        title="Envoy",
        family="envoy_cluster_upstream_rq_xx",
        services=("envoy_cluster_name",),
        statuses=("envoy_response_code_class",),
        vocabularies=(CLASS_DIGIT,),
    ),
    Requests(
        title="Envoy durations",
        family="envoy_cluster_upstream_rq_time",
        services=("envoy_cluster_name",),
        unit="ms",
    ),
    # Names of one's own after the common pattern; go-kit and Weaveworks' middleware among them.
    Requests(title="a counter of requests", family="[a-z0-9_]*requests?_total"),
    Requests(title="durations of requests", family="[a-z0-9_]*request_duration_seconds"),
    Requests(title="durations of requests", family="[a-z0-9_]*request_duration_milliseconds", unit="ms"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What else tells of a service. family: whole name, a regular expression. services: as in `Requests`."""

    title: str
    family: str
    kind: Literal["count", "rate", "gauge"]
    services: tuple[str, ...] = ()


MEASURES = (
    Measure(
        title="business that is done: fewer is worse",
        family="[a-z0-9_]+_(?:created|completed|placed|paid|confirmed|captured|sent|published|delivered|shipped"
        "|registered|processed|succeeded)_total",
        kind="count",
    ),
    Measure(
        title="business that fails: more is worse",
        family="[a-z0-9_]+_(?:failed|failures|errors|rejected|dropped|expired|dead_lettered)_total",
        kind="rate",
    ),
    Measure(title="Kafka", family="kafka_consumergroup_lag", kind="gauge", services=("consumergroup",)),
    Measure(
        title="what waits: more is worse",
        family="[a-z0-9_]+_(?:queue_(?:length|size|depth)|queued|waiting|backlog|pending|lag)",
        kind="gauge",
    ),
)

VERSION = re.compile("[a-z0-9_]+_build_info")

# Metrics of what services run on, of those that the tables would know: no service that somebody deploys.
PLATFORM = re.compile(
    "(?:prometheus|alertmanager|grafana|loki|tempo|thanos|cortex|otelcol|promhttp|pushgateway|net_conntrack"
    "|node|container|cadvisor|kube|kubelet|kubeproxy|apiserver|etcd|coredns|rest_client|workqueue"
    "|cluster_autoscaler|karpenter|cert_manager|certmanager|argocd|watchdog)_.*"
    # What a service calls is another one's requests.
    "|.*_?client_.*"
)
