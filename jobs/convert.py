"""python -m jobs.convert NAME --store STORE FILE...: makes a model's weights of its published checkpoint's files.

It writes what the model's entry names, in STORE/weights, and ends with 0; or says in a line on stderr why not: with 65
where the checkpoint is not what the entry says, with another code where the machine or the program is at fault.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from jobs.lib.convert import convert
from jobs.lib.failure import BadWeights, first_line
from suite.catalog import Catalog
from suite.entry import Refusal
from suite.store import Store


def main() -> int:
    asked = _arguments()
    store = Store(asked.store.absolute())
    try:
        model = Catalog(store).model(asked.name)
        to = store.weights / (model.weights.file if model.weights else "")
        print(convert(model, asked.files, to, asked.source, asked.sha256))
    except (BadWeights, Refusal) as error:
        print(first_line(error), file=sys.stderr)
        return os.EX_DATAERR
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m jobs.convert", description=__doc__)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--source", default="", help="where the files were brought from")
    parser.add_argument("--sha256", default="", help="of the published file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
