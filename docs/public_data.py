"""Count what the documentation says about the public data (the training part of the Kermany
radiographs): docs/public_data.json, the summary of the audit.

python docs/public_data.py [--data DIR]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from xray_tf.jobs.audit.audit_data import audit_records

HERE = Path(__file__).parent


def main(args=None) -> None:
    """Audit, and write the counts; no file name is among them."""
    parser = argparse.ArgumentParser(prog="python docs/public_data.py")
    parser.add_argument(
        "--data",
        default=str(HERE.parents[1] / "shared" / "data" / "chest_xray"),
        metavar="DIR",
        help="the folder with train/ in it",
    )
    summary = dict(audit_records(parser.parse_args(args).data).summary)
    summary["data"] = "chest_xray, training part"
    (HERE / "public_data.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
