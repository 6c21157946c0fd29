"""A weather report whose worker is killed, a failing payment, a briefing from a document: what `make demo` runs."""

import argparse
import asyncio
import sys
from pathlib import Path

from holdfast import HoldfastError
from holdfast_server.demo.driver import run_demo

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--home", type=Path, help="where the embedded server keeps its data (default: .holdfast)"
    )
    options = parser.parse_args()
    try:
        sys.exit(asyncio.run(run_demo(home=options.home, examples=Path(__file__).parent)))
    except HoldfastError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
