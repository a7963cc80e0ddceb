"""What the sidecar is asked for: values that the library chart takes, and those that it refuses with its words."""

from __future__ import annotations

from typing import Any

CLAIM = {"kind": "sqlite", "sqlite": {"existingClaim": "ledger"}}
TLS = {"enabled": True, "caSecret": {"name": "redis-ca"}}

GOOD: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "several replicas": {"workload": {"replicas": 3}},
    "a container like others": {"nativeSidecar": False},
    "SQLite": {"store": CLAIM, "workload": {"strategy": "Recreate"}},
    "SQLite in a StatefulSet": {"store": CLAIM, "workload": {"kind": "StatefulSet"}},
    "SQLite in a CronJob": {"store": CLAIM, "workload": {"kind": "CronJob", "strategy": "Forbid"}},
    "DaemonSet": {"workload": {"kind": "DaemonSet"}},
    "Job": {"workload": {"kind": "Job"}},
    "Pod": {"workload": {"kind": "Pod"}},
    "policies that exist": {"policies": {"existingConfigMap": "ours", "files": None}},
    "policies picked up live": {"policies": {"rollout": False}},
    "Redis by a Secret": {"store": {"redis": {"addresses": [], "urlSecret": {"name": "ledger"}}}},
    "Redis with TLS": {
        "store": {"redis": {"username": "holdfast", "passwordSecret": {"name": "redis"}, "tls": TLS, "database": 3}},
    },
    "Sentinels": {
        "store": {
            "redis": {
                "topology": "sentinel", "master": "ledger", "addresses": ["s1:26379", "s2:26379"], "tls": TLS,
                "passwordSecret": {"name": "redis"}, "sentinelPasswordSecret": {"name": "sentinel", "key": "word"},
            },
        },
    },
    "Cluster": {"store": {"redis": {"topology": "cluster", "addresses": ["n1:6379", "n2:6379"]}}},
    "secrets": {
        "adminTokenSecret": {"name": "admin"}, "logKeySecret": {"name": "logs"},
        "encryptionKeySecrets": [{"name": "new", "key": "key"}, {"name": "old", "key": "word"}],
    },
    "spans to a collector": {"tracing": {"endpoint": "http://collector:4318"}},
    "an image by its digest": {"image": {"digest": "sha256:" + "0" * 64}},
    "times of its own": {
        "appDrainSeconds": 5, "longestUpstreamSeconds": 20, "terminationGracePeriodSeconds": 46, "lease": "20s",
    },
}  # fmt: skip

NO_STORE = "the store is missing: Redis needs addresses, or a Secret with its URL"
NO_TOOLS = "upstream is missing: where the tools are, such as http://tools:9000"
NO_POLICIES = "policies are missing: name an existing ConfigMap, or give files"
NO_CLAIM = "SQLite without a PersistentVolumeClaim: an emptyDir dies with its pod, and calls that ran would run again"
SURGE = "SQLite with the strategy RollingUpdate: a surge makes two ledgers; use Recreate"
OF_ITS_OWN = "would keep a ledger of its own, and a call asked for again elsewhere would run again; use Redis"
OVERLAP = "SQLite with the concurrencyPolicy Allow: two Jobs at once make two ledgers; use Forbid"
TOO_SOON = (
    "terminationGracePeriodSeconds is 140 and must be more than 140: 30 s for the app to stop, 90 s for the longest "
    "timeouts.upstream, 20 s to write down what is left"
)
NEVER_ENDS = "nativeSidecar is false in a Job: the sidecar would not end, and so the Job would never be complete"
SEVERAL = "several addresses of one Redis server: topology sentinel or cluster does that"
NOBODYS = "the name under which the Sentinels know the primary is missing"
IN_THE_CLEAR = "an authority for TLS, and TLS is not enabled: the password would go in the clear"

BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no store": ({"store": {"redis": {"addresses": []}}}, [NO_STORE]),
    "nothing to protect": ({"upstream": ""}, [NO_TOOLS]),
    "no policies": ({"policies": {"files": None}}, [NO_POLICIES]),
    "SQLite on a disk that goes": ({"store": {"kind": "sqlite"}, "workload": {"strategy": "Recreate"}}, [NO_CLAIM]),
    "SQLite that surges": ({"store": CLAIM}, [SURGE]),
    "SQLite twice": (
        {"store": CLAIM, "workload": {"replicas": 2, "strategy": "Recreate"}},
        [f"SQLite with 2 replicas: each {OF_ITS_OWN}"],
    ),
    "SQLite on each node": (
        {"store": CLAIM, "workload": {"kind": "DaemonSet"}},
        [f"SQLite in a DaemonSet: each node {OF_ITS_OWN}"],
    ),
    "SQLite in Jobs that overlap": ({"store": CLAIM, "workload": {"kind": "CronJob", "strategy": "Allow"}}, [OVERLAP]),
    "a pod that is killed too soon": ({"terminationGracePeriodSeconds": 140}, [TOO_SOON]),
    "a Job that never ends": ({"nativeSidecar": False, "workload": {"kind": "Job"}}, [NEVER_ENDS]),
    "several servers that are one": ({"store": {"redis": {"addresses": ["a:6379", "b:6379"]}}}, [SEVERAL]),
    "Sentinels of nobody": ({"store": {"redis": {"topology": "sentinel"}}}, [NOBODYS]),
    "an authority for nothing": ({"store": {"redis": {"tls": {"caSecret": {"name": "ca"}}}}}, [IN_THE_CLEAR]),
    "all at once": ({"store": {"kind": "sqlite"}, "upstream": ""}, [NO_TOOLS, NO_CLAIM, SURGE]),
}
