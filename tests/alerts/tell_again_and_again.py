"""A process that tells the same alerts as others at the same time: `DATA_DIR HOW_MANY`; says how many it told."""

import sys
from pathlib import Path

from fluxhero.alerts.outbox import Outbox
from tests.alerts.telling import incident

if __name__ == "__main__":
    outbox = Outbox(Path(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    told = sum(outbox.tell(incident(f"key:{number}")) for number in range(int(sys.argv[2])))
    sys.stdout.write(f"{told}\n")
