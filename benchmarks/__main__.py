"""All benchmarks in one run on one core: python -m benchmarks. Exit code 1 if one misses what it must hold."""

from __future__ import annotations

import sys

from benchmarks import fbp, reading


def main() -> int:
    """Run them one after the other."""
    return max(fbp.main(), reading.main())


if __name__ == "__main__":
    sys.exit(main())
