"""The chart renders what Kubernetes accepts, as strict as compose, from the same lists as compose."""

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.helm import build
from local.installers.helm import find_program

pytestmark = pytest.mark.lint

PROJECT = Path(__file__).parents[2]
CHART = PROJECT / "deploy/helm/nouba"
VALUES = sorted((Path(__file__).parent / "values").glob("*.yaml"))
#: Releases of Kubernetes whose schemas the manifests satisfy.
KUBERNETES = ("1.31", "1.37")
#: Kinds of operators, of which there is no schema here.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}

every_value_set = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find_program(), *arguments], capture_output=True, text=True, check=False)


@functools.cache
def rendered(values: Path) -> list[dict[str, Any]]:
    result = helm("template", "school", str(CHART), "--namespace", "school", "--values", str(values))
    assert result.returncode == 0, result.stderr
    return [one for one in yaml.safe_load_all(result.stdout) if one]


def pods(values: Path) -> dict[str, dict[str, Any]]:
    """The pod of each workload, by its name."""
    found = {}
    for one in rendered(values):
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            found[one["metadata"]["name"]] = one["spec"]["template"]["spec"]
        elif one["kind"] == "Pod":
            found[one["metadata"]["name"]] = one["spec"]
    return found


def of_kind(values: Path, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in rendered(values) if one["kind"] == kind}


def named(stem: str) -> Path:
    return next(path for path in VALUES if path.stem == stem)


def test_what_is_generated_is_as_its_sources_say() -> None:
    old = [path.relative_to(PROJECT) for path, content in build.generated().items() if path.read_text() != content]

    assert old + build.stale() == [], "run `python -m deploy.helm.build`"


@every_value_set
def test_helm_finds_no_fault(values: Path) -> None:
    result = helm("lint", "--strict", str(CHART), "--values", str(values))

    assert result.returncode == 0, result.stdout + result.stderr


@every_value_set
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_is_valid(values: Path, version: str) -> None:
    for one in rendered(values):
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


@every_value_set
def test_every_pod_is_as_confined_as_in_compose(values: Path) -> None:
    for name, pod in pods(values).items():
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] >= 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, name
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert not container["image"].endswith(":latest"), name
            # a secret is a file, never in the environment
            assert not [one for one in container.get("env", ()) if "valueFrom" in one], name


@every_value_set
def test_every_process_of_compose_runs_with_its_probe(values: Path) -> None:
    given = yaml.safe_load(values.read_text())
    wanted = {
        name: fixed
        for name, fixed in build.processes().items()
        if given.get("processes", {}).get(name, {}).get("enabled", True)
    }
    found = {name.removeprefix("school-"): pod for name, pod in pods(values).items() if "migrate" not in name}
    found.pop("test")

    assert set(found) == set(wanted)
    for name, fixed in wanted.items():
        (container,) = found[name]["containers"]
        assert container["args"] == fixed["args"]
        # a web process first waits until nothing is sent to it
        waits = 5 if fixed["port"] else 0
        assert found[name]["terminationGracePeriodSeconds"] == fixed["graceSeconds"] + waits
        assert container.get("lifecycle") == (
            {"preStop": {"exec": {"command": ["sleep", "5"]}}} if fixed["port"] else None
        )
        environment = {one["name"]: one["value"] for one in container["env"]}
        expected = dict(fixed["environment"])
        if "NOUBA_GATEWAY_SPOOL_DIR" in expected:
            # a folder of its own in the volume, which is root's
            expected["NOUBA_GATEWAY_SPOOL_DIR"] += "/events"
        assert expected.items() <= environment.items()
        assert all(probe in container for probe in ("startupProbe", "readinessProbe", "livenessProbe"))


def test_a_workers_probe_counts_connections_to_the_ports_that_are_set() -> None:
    (container,) = pods(named("pooler"))["school-payments-worker"]["containers"]
    command = container["readinessProbe"]["exec"]["command"]
    assert command == ["healthcheck", "http://127.0.0.1:9100/metrics", "5672:3", "6432:1"]
    (container,) = pods(named("cloud"))["school-transcoder"]["containers"]
    assert container["readinessProbe"]["exec"]["command"][2:] == ["5671:3", "5432:1"]
    assert "AWS_SHARED_CREDENTIALS_FILE" not in {one["name"] for one in container["env"]}


def test_no_outage_of_a_server_takes_a_web_process_out_of_its_service() -> None:
    """A gateway keeps webhooks while RabbitMQ, or PostgreSQL, is away: all of its pods would be taken out at once."""
    for name in ("gateway", "playback", "stats-api", "console"):
        (container,) = pods(named("defaults"))[f"school-{name}"]["containers"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_a_change_of_any_setting_replaces_the_pods() -> None:
    def checksum(*more: str) -> str:
        result = helm("template", "school", str(CHART), "--values", str(named("defaults")), *more)
        found = yaml.safe_load_all(result.stdout)
        pod = next(one for one in found if one and one["kind"] == "StatefulSet")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/settings"])

    changes = ("s3.bucket=other", "rabbitmq.managementUrl=http://other", "settings.NOUBA_TIMEZONE=Africa/Tunis")
    assert len({checksum(), *(checksum("--set", change) for change in changes)}) == 1 + len(changes)


def test_one_process_can_be_upgraded_before_the_others() -> None:
    result = helm(
        "template", "school", str(CHART), "--values", str(named("defaults")),
        "--set", "image.tag=0.2.0,processes.transcoder.tag=0.3.0",
    )  # fmt: skip
    images = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]
        for one in yaml.safe_load_all(result.stdout)
        if one and one["kind"] in ("Deployment", "StatefulSet")
    }
    assert images.pop("school-transcoder") == "0.3.0"
    assert set(images.values()) == {"0.2.0"}


@pytest.mark.parametrize(
    ("url", "password", "seen"),
    [
        ("postgresql://nouba:p%40ss%5C%25@db:5432/nouba?a=b", "p@ss\\%", "postgresql://nouba@db:5432/nouba?a=b"),
        ("postgresql://nouba@db/nouba", "", "postgresql://nouba@db/nouba"),
    ],
)
def test_no_process_list_shows_the_owners_password(tmp_path: Path, url: str, password: str, seen: str) -> None:
    (container,) = pods(named("defaults"))["school-migrate"]["containers"]
    (script,) = container["args"]
    psql = tmp_path / "psql"
    psql.write_text('#!/bin/sh\nprintf "%s\\n" "$PGPASSWORD" "$@"\n')
    psql.chmod(0o755)
    (tmp_path / "url").write_text(url)

    answer = subprocess.run(
        [*container["command"], script.replace("/run/secrets/migrate/NOUBA_DATABASE_URL", str(tmp_path / "url"))],
        capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip

    first, *arguments = answer.stdout.splitlines()
    assert (first, arguments[-1]) == (password, seen)


def test_the_gateways_spool_outlives_its_pod() -> None:
    gateway = of_kind(named("defaults"), "StatefulSet")["school-gateway"]["spec"]

    assert gateway["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert [one["metadata"]["name"] for one in gateway["volumeClaimTemplates"]] == ["spool"]


def test_the_migration_is_a_hook_that_runs_before_the_pods() -> None:
    job = of_kind(named("defaults"), "Job")["school-migrate"]

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert [one["args"] for one in pod["initContainers"]] == [["migrate"]]
    config = of_kind(named("defaults"), "ConfigMap")["school-migrate"]
    assert config["data"]["roles.sql"].strip() == (PROJECT / "deploy/postgres/roles.sql").read_text().strip()
    assert int(config["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    # one role for everything: no roles, and the migration is the job itself
    pod = of_kind(named("cloud"), "Job")["school-migrate"]["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["containers"]] == ["migrate"]
    assert "initContainers" not in pod


def test_rules_and_dashboards_are_those_of_compose() -> None:
    values = named("production")
    groups = of_kind(values, "PrometheusRule")["school"]["spec"]["groups"]
    written = [yaml.safe_load(path.read_text()) for path in sorted((PROJECT / "deploy/prometheus/rules").glob("*.yml"))]
    assert groups == [group for rules in written for group in rules["groups"]]
    boards = {
        name: text
        for one in of_kind(values, "ConfigMap").values()
        if "grafana_dashboard" in one["metadata"]["labels"]
        for name, text in one["data"].items()
    }
    folder = PROJECT / "deploy/grafana/dashboards"
    assert boards.keys() == {path.name for path in folder.glob("*.json")}
    assert all(text.strip() == (folder / name).read_text().strip() for name, text in boards.items())
    monitor = of_kind(values, "ServiceMonitor")["school"]["spec"]
    services = [one for one in of_kind(values, "Service").values() if "nouba/metrics" in one["metadata"]["labels"]]
    assert monitor["jobLabel"] == "app.kubernetes.io/component"
    assert {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in services} == set(build.PROCESSES)


def test_a_process_that_is_switched_off_is_not_reported_missing() -> None:
    off = "processes.transcoder.enabled=false"
    result = helm("template", "school", str(CHART), "--values", str(named("production")), "--set", off)
    (rules,) = [one for one in yaml.safe_load_all(result.stdout) if one and one["kind"] == "PrometheusRule"]
    (down,) = [
        rule for group in rules["spec"]["groups"] for rule in group["rules"] if rule.get("alert") == "TargetDown"
    ]
    missing = set(re.findall(r'absent\(up\{job="([a-z-]+)"\}\)', down["expr"]))
    assert missing == {*build.PROCESSES, "rabbitmq", "rabbitmq-queues"} - {"transcoder"}


def test_scaling_is_by_how_long_the_queue_waits() -> None:
    values = named("scaled")
    rules = [
        rule
        for one in of_kind(values, "PrometheusRule").values()
        for group in one["spec"]["groups"]
        for rule in group["rules"]
    ]
    recorded = {rule.get("record") for rule in rules}

    scaled = of_kind(values, "ScaledObject")

    assert set(scaled) == {"school-transcoder", "school-payments-worker"}
    for name, one in scaled.items():
        (trigger,) = one["spec"]["triggers"]
        assert "queue:nouba_time_to_clear:seconds{" in trigger["metadata"]["query"]
        assert "queue:nouba_time_to_clear:seconds" in recorded
        # KEDA alone counts its pods, and a disruption budget keeps the others
        assert "replicas" not in of_kind(values, "Deployment")[name]["spec"]
        assert name in of_kind(values, "PodDisruptionBudget")


@every_value_set
def test_a_port_is_open_to_whom_the_values_name_and_to_nobody_else(values: Path) -> None:
    given = yaml.safe_load(values.read_text()).get("networkPolicy", {})
    policies = of_kind(values, "NetworkPolicy")
    if not given.get("enabled", True):
        assert policies == {}
        return
    deny = policies.pop("school-deny")["spec"]
    # what reaches no pod by itself: everything but the migration and the test, which listen to nobody
    assert "ingress" not in deny
    excepted = deny["podSelector"]["matchExpressions"]
    assert excepted == [{"key": "app.kubernetes.io/component", "operator": "NotIn", "values": ["migrate", "test"]}]

    for name, policy in policies.items():
        found: dict[str, list[Any]] = {"http": [], "metrics": []}
        for rule in policy["spec"].get("ingress") or ():
            # a rule without `from` is open to everybody
            assert rule["from"], name
            for port in rule["ports"]:
                found[port["port"]] += rule["from"]
        if name == "school-gateway":
            (tester,) = [peer for peer in found["http"] if "podSelector" in peer]
            assert tester["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
            found["http"].remove(tester)
        is_public = bool(build.processes()[name.removeprefix("school-")]["port"])
        assert found["http"] == (given.get("ingressFrom", []) if is_public else []), name
        assert found["metrics"] == given.get("metricsFrom", []), name


def test_pods_reach_what_they_need_and_nothing_else() -> None:
    policies = of_kind(named("production"), "NetworkPolicy")
    deny = policies.pop("school-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)

    def ports(name: str) -> set[int]:
        egress = policies[f"school-{name}"]["spec"]["egress"]
        return {one["port"] for rule in egress for one in rule["ports"]}

    assert ports("playback") == {53, 5432, 443}
    assert ports("stats-worker") == {53, 5432, 5672, 15672}
    assert set(policies) == {f"school-{name}" for name in build.PROCESSES}
    wide = [
        name
        for name, policy in policies.items()
        for rule in policy["spec"]["egress"]
        if any(peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for peer in rule.get("to", ()))
    ]
    assert sorted(wide) == ["school-events-worker", "school-gateway", "school-payments-worker"]


@pytest.mark.parametrize(
    ("issuer", "port"),
    [("https://id.school.example/realms/school", 443), ("https://id.school.example:8443", 8443)],
    ids=["https", "a port"],
)
def test_the_console_reaches_its_identity_provider(issuer: str, port: int) -> None:
    given = ["--values", str(named("defaults")), "--set", f"settings.NOUBA_CONSOLE_OIDC_ISSUER={issuer}"]

    result = helm("template", "school", str(CHART), "--show-only", "templates/networkpolicies.yaml", *given)

    policies = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(result.stdout) if one}
    opened = {one["port"] for rule in policies["school-console"]["egress"] for one in rule["ports"]}
    assert opened - {53, 5432, 5672} == {port}


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ("settings.NOUBA_TIMEZON=Africa/Algiers", "NOUBA_TIMEZON"),
        ("settings.NOUBA_DATABASE_URL=postgresql://a:b@c/d", "NOUBA_DATABASE_URL"),
        ("settings.NOUBA_PSP_STRIPE_API_KEY=rk_live_x", "NOUBA_PSP_STRIPE_API_KEY"),
        ("settings.NOUBA_CONSOLE_OIDC_CLIENT_SECRET=x", "NOUBA_CONSOLE_OIDC_CLIENT_SECRET"),
        ("processes.gatway.replicas=2", "gatway"),
        ("processes.gateway.replicas=two", "replicas"),
        ("processes.gateway.env.A=b", "env"),
        ("s3.endpointUrl=https://key:secret@s3.example", "endpointUrl"),
        ("secrets.gateway=", "gateway"),
        ("ingress.hosts.gateway=pay.school.example", "networkPolicy.ingressFrom is empty"),
        ("monitoring.serviceMonitor=true", "networkPolicy.metricsFrom is empty"),
    ],
)
def test_a_wrong_value_is_refused_by_name(wrong: str, fault: str) -> None:
    result = helm("template", "school", str(CHART), "--values", str(named("defaults")), "--set", wrong)

    assert result.returncode != 0
    assert fault in result.stderr


def test_every_setting_is_one_of_values_or_of_secrets() -> None:
    fixed = {name for process in build.processes().values() for name in process["environment"]}

    # what compose reads from its environment, a value of the chart can say
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    read = {name for process in build.PROCESSES for name in compose[process]["environment"]}
    page = (PROJECT / "docs/kubernetes.md").read_text()
    of_chart = {"NOUBA_SETTINGS_DIR", "NOUBA_METRICS_PORT", "AWS_SHARED_CREDENTIALS_FILE"}
    of_values = {"NOUBA_S3_BUCKET", "NOUBA_S3_ENDPOINT_URL", "NOUBA_RABBITMQ_MANAGEMENT_URL"}
    left = read - fixed - set(build.public_settings()) - of_chart - of_values
    assert [name for name in sorted(left) if f"`{name}`" not in page] == []
