"""What python-dotenv reads in each file of a folder, as JSON; null for a file that it refuses. For e2e/tools/dotenv-readings."""

import json
import logging
import pathlib
import sys
from importlib.metadata import version

from dotenv import dotenv_values

# It tells of the lines that it passes over, and reads on.
logging.disable(logging.CRITICAL)


def read(path):
    try:
        return dict(dotenv_values(path))
    except UnicodeDecodeError:
        return None


files = sorted(pathlib.Path(sys.argv[1]).glob("*.env"))
found = {"program": f"python-dotenv {version('python-dotenv')}", "readings": {file.name: read(file) for file in files}}
print(json.dumps(found, indent=1, sort_keys=True, ensure_ascii=True))
