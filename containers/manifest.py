"""manifest.py IMAGE RECIPE COMMIT BASE: what an image is made of, as manifest.json beside this file, without a time."""

import json
import platform
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import torch

image, recipe, commit, base = sys.argv[1:]
packages = {re.sub(r"[-_.]+", "-", found.name).lower(): found.version for found in distributions(path=sys.path)}
debian = subprocess.run(["dpkg-query", "-W", "-f=${Package}=${Version}\n"], check=True, capture_output=True, text=True)
manifest = {
    "image": image,
    "recipe": recipe,
    "commit": commit,
    "base": base.rpartition("/")[2],  # without its registry or folder
    "prefix": sys.prefix,
    "python": platform.python_version(),
    "cuda": torch.version.cuda,
    "packages": packages,
    "debian": dict(line.split("=", 1) for line in debian.stdout.splitlines()),
}
Path(__file__).with_name("manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
