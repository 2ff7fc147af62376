"""A test that needs something which a machine may lack: it is shown as skipped, and fails if the
environment variable CI says that everything is present.

usage: absent.py REASON        in place of the test
"""
import os
import sys

SKIPPED = 77  # as Meson shows it


def skip(reason):
    """Ends the process."""
    if os.environ.get("CI"):
        sys.exit(f"cannot be skipped where CI is set: {reason}")
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


if __name__ == "__main__":
    skip(sys.argv[1])
