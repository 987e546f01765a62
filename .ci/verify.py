"""Are the packages of this environment, file by file, what was installed? Ends with 1 if one is not."""

import base64
import hashlib
import importlib.metadata
import sys
from pathlib import Path


def wrong_files() -> list[str]:
    """Files that lack or whose hash is not the recorded one."""
    wrong = []
    for package in importlib.metadata.distributions():
        for file in package.files or []:
            if file.hash is None:
                continue
            path = Path(str(file.locate()))
            content = path.read_bytes() if path.is_file() else b""
            digest = base64.urlsafe_b64encode(
                hashlib.new(file.hash.mode, content).digest()
            ).decode()
            # The programs' first lines name their folder, and our own package is installed afresh.
            if (
                digest.rstrip("=") != file.hash.value
                and path.parent.name != "bin"
                and "fluxhero" not in path.name
            ):
                wrong.append(str(file))
    return wrong


if __name__ == "__main__":
    if wrong := wrong_files():
        sys.exit(
            f"ci: {len(wrong)} installed files are not what was installed: {', '.join(wrong[:5])}"
        )
