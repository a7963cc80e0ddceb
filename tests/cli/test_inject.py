"""`holdfast inject` on manifests as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.helm import charts
from tests.tracked import ROOT

MANIFESTS = ROOT / "tests/cli/manifests"
REDIS = ("--upstream", "http://tools:9000", "--store", "redis://redis:6379/0")


def run(*arguments: str, text: str | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["inject", *arguments], input=text)


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_injected_manifest_is_one_that_kubernetes_takes(path: Path) -> None:
    """Whatever kind of workload it has; and injecting again changes not a byte."""
    ran = run("-f", str(path), *REDIS)
    assert ran.exit_code == 0, ran.output
    objects = charts.documents(ran.stdout)
    charts.check(objects)
    pods = [charts.pod_of(one) for one in objects if one["kind"] in {"Deployment", "StatefulSet", "CronJob"}]
    assert [charts.container_of(pod)["name"] for pod in pods] == ["holdfast"] * len(pods) != []
    again = run("-f", "-", *REDIS, text=ran.stdout)
    assert again.stdout == ran.stdout
    assert run("-f", "-", "-o", "diff", *REDIS, text=ran.stdout).stdout == ""


def test_diff_shows_what_is_added_and_takes_nothing_away() -> None:
    """Comments, quotes, order and the other documents are as they were."""
    ran = run("-f", str(MANIFESTS / "deployment.yaml"), "-o", "diff", *REDIS)
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("--- ")
    assert lines[1].endswith("(injected)")
    assert [line for line in lines[2:] if line.startswith("-")] == []
    assert "+      - name: holdfast" in lines


def test_where_to_point_the_tools_is_said_on_stderr() -> None:
    """The command does not know which of the app's settings that is."""
    ran = run("-f", str(MANIFESTS / "deployment.yaml"), *REDIS)
    assert ran.stderr == "Deployment/agent: point its tools' base URL at http://127.0.0.1:8100\n"


def test_disk_that_the_sidecar_could_not_write_to_is_said() -> None:
    """The pod's security context is the app's as well, so it is not changed."""
    ran = run("-f", str(MANIFESTS / "cronjob.yaml"), "--upstream", "http://tools:9000", "--sqlite-claim", "ledger")
    assert "CronJob/digest: give its pod fsGroup 65532, so that the sidecar can write\n" in ran.stderr
    assert "fsGroup" not in ran.stdout


def test_only_the_named_workload_gets_it() -> None:
    """The others are not touched."""
    text = (MANIFESTS / "deployment.yaml").read_text() + "---\n" + (MANIFESTS / "statefulset.yaml").read_text()
    ran = run("-f", "-", "--only", "worker", *REDIS, text=text)
    assert ran.stdout.startswith((MANIFESTS / "deployment.yaml").read_text())
    assert ran.stdout.count("- name: holdfast\n") == 1


@pytest.mark.parametrize("flags", [("--only", "nobody"), ()])
def test_manifest_without_such_a_workload_is_not_found(flags: tuple[str, ...]) -> None:
    """Nothing is printed that could be applied."""
    text = "kind: Service\nspec: {}\n" if not flags else (MANIFESTS / "deployment.yaml").read_text()
    ran = run("-f", "-", *flags, *REDIS, text=text)
    assert (ran.exit_code, ran.stdout) == (3, "")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--upstream", "tools"), "--upstream"),
        (("--store", "redis://:secret@redis/0"), "it has a password"),
        (("--store", "mysql://x"), "--store"),
        (("--sqlite-claim", "ledger"), "give one of them"),
        (("--log-key-secret", "logs/"), "is not NAME or NAME/KEY"),
        (("--tracing-endpoint", "collector:4318"), "--tracing-endpoint"),
    ],
)
def test_wish_without_sense_is_a_usage_error(flags: tuple[str, ...], said: str) -> None:
    """And a password is kept off manifests."""
    ran = run("-f", str(MANIFESTS / "deployment.yaml"), *REDIS, *flags)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert "secret@" not in ran.stderr


def test_policies_with_a_fault_are_not_shipped(tmp_path: Path) -> None:
    """The fault is told as `holdfast policy check` does."""
    (tmp_path / "act.yaml").write_text("apiVersion: holdfast.dev/v1\nkind: ToolPolicy\ntool: act\nmode: maybe\n")
    ran = run("-f", str(MANIFESTS / "deployment.yaml"), "--policies", str(tmp_path), *REDIS)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "act.yaml:4" in ran.stderr


def test_text_that_is_no_yaml_is_a_usage_error() -> None:
    """It says where."""
    ran = run("-f", "-", *REDIS, text="kind: [\n")
    assert ran.exit_code == 2
    assert "document 1" in ran.stderr
