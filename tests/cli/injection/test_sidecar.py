"""The container as values. That it is the chart's is tests/helm/test_inject_and_chart.py's."""

from __future__ import annotations

from msgspec.structs import replace

from cli.injection.sidecar import Secret, Sidecar, container, pod_annotations, pod_volumes

PLAIN = Sidecar(image="holdfast:1", upstream="http://tools:9000", config_map="ours", store="redis://redis:6379/0")


def test_options_of_the_url_follow_those_that_it_has() -> None:
    """A password and an authority are files, named in the query."""
    wished = replace(PLAIN, store="rediss://redis/0?ssl_check_hostname=false", redis_password=Secret("redis", "word"))
    (variable,) = container(wished, 160)["env"]
    assert variable["value"] == (
        "rediss://redis/0?ssl_check_hostname=false&password_file=/etc/holdfast/secrets/redis-password"
    )


def test_what_is_not_needed_is_not_mounted() -> None:
    """Policies always; secrets and a disk where there are some."""
    assert [volume["name"] for volume in pod_volumes(PLAIN)] == ["holdfast-policies"]
    wished = replace(PLAIN, store="", sqlite_claim="ledger", log_key=Secret("logs", "key"))
    names = [volume["name"] for volume in pod_volumes(wished)]
    assert names == ["holdfast-policies", "holdfast-secrets", "holdfast-data"]
    assert [mount["name"] for mount in container(wished, 160)["volumeMounts"]] == names


def test_pods_are_rolled_by_a_checksum_alone() -> None:
    """Without one there is no annotation."""
    assert pod_annotations(PLAIN) == {}
    assert pod_annotations(replace(PLAIN, checksum="abc")) == {"holdfast.dev/policies-checksum": "abc"}
