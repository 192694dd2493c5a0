"""All benchmarks with a target in one run: python -m benchmarks. Exit code 1 if one misses what it must hold."""

from __future__ import annotations

import sys

from benchmarks import fbp, reading, virtual


def main() -> int:
    """Run them one after the other."""
    return max(fbp.main(), reading.main(), virtual.main())


if __name__ == "__main__":
    sys.exit(main())
