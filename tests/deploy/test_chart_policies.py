"""checkov finds nothing in what the chart renders but what is meant to be so, each with its reason."""

import json
import subprocess
from pathlib import Path

import pytest

from local.installers import checkov
from tests.deploy.test_chart import CHART, VALUES, helm

#: Checks of checkov that do not fit a chart that others install.
MEANT = {
    "CKV_K8S_21": "the namespace is the one that helm is given",
    "CKV_K8S_43": "an image is named by the release that the school has built and pushed itself, not by a digest",
    "CKV_K8S_15": "the tag of a release never moves, and a registry that is away must not stop a pod",
    "CKV_K8S_11": "a limit of processor time slows a webhook down on an idle machine; memory is limited",
    "CKV_K8S_8": "of pods that run once: the others' probes are in test_chart.py",
    "CKV_K8S_9": "of pods that run once: the others' probes are in test_chart.py",
}
ONCE = {"CKV_K8S_8", "CKV_K8S_9"}


@pytest.mark.slow
def test_checkov_finds_only_what_is_meant(tmp_path: Path) -> None:
    for values in VALUES:
        rendered = helm("template", "school", str(CHART), "--namespace", "school", "--values", str(values))
        (tmp_path / f"{values.stem}.yaml").write_text(rendered.stdout)

    answer = subprocess.run(
        [checkov.find_program(), "--directory", tmp_path, "--framework", "kubernetes", "--quiet", "--output", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    found = json.loads(answer.stdout)
    assert found["summary"]["passed"] > 500 * len(VALUES), "it has judged all of them"
    failed = {(one["check_id"], one["resource"]) for one in found["results"]["failed_checks"]}
    assert {check for check, _ in failed} == set(MEANT), "each reason is still needed"
    assert {resource for check, resource in failed if check in ONCE} == {"Pod.default.school-test"}
