#!/usr/bin/env python3
"""Collects the licence texts of every crate that is in the program.

    scripts/licences.py DIR

Writes DIR/CRATE-VERSION/… with the files that the crate brings, and DIR/README with one line a
crate, and a list of those that bring none.
"""

import json
import pathlib
import shutil
import subprocess
import sys

NAMES = ("licen", "copying", "notice", "unlicense")


def cargo(*arguments):
    return subprocess.run(("cargo", *arguments), check=True, capture_output=True, text=True).stdout


def main(directory):
    lines = cargo("tree", "--locked", "--edges", "normal", "--prefix", "none",
                  "--format", "{p}").splitlines()
    used = {tuple(line.split()[:2]) for line in lines if line.split()[1:2]}
    packages = json.loads(cargo("metadata", "--locked", "--format-version", "1"))["packages"]
    summary, bare = [], []
    for package in sorted(packages, key=lambda package: package["name"]):
        name, version = package["name"], package["version"]
        if (name, f"v{version}") not in used or package["source"] is None:
            continue
        root = pathlib.Path(package["manifest_path"]).parent
        texts = [file for file in sorted(root.iterdir())
                 if file.is_file() and file.name.lower().startswith(NAMES)]
        summary.append(f"{name} {version}: {package['license']}\n")
        if not texts:
            bare.append(f"{name} {version}")
            continue
        into = directory / f"{name}-{version}"
        into.mkdir(parents=True, exist_ok=True)
        for text in texts:
            shutil.copyfile(text, into / text.name)
    (directory / "README").write_text("".join(summary) + (
        "\nThese bring no text of their own; that of their licence stands beside others above:\n"
        + "".join(f"{name}\n" for name in bare) if bare else ""))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
